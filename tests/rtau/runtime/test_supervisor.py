import threading
import time
from functools import partial

import psutil
import pytest

from rtau.errors import DamagedSourceError, Interrupted, ModelError, SourceError, WorkerError
from tests.rtau.leftovers import left_over
from tests.rtau.runtime import chains
from tests.rtau.runtime.chains import supervisor


@pytest.fixture(autouse=True)
def nothing_left_behind():
    before = left_over()
    yield
    left = [child for child in psutil.Process().children(recursive=True) if "resource_tracker" not in _command(child)]
    assert not left
    assert left_over() <= before


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_every_message_arrives_once_in_order_with_its_slot() -> None:
    with supervisor(partial(chains.Counting, 300), chains.unchanged, chains.adding) as run:
        received = [item.payload for item in run]
    assert received == [b"%d/%d" % (i, i % 256) for i in range(300)]
    assert [(time.stage, time.frames) for time in run.times] == [("source", 300), ("first", 300), ("second", 300)]


def test_messages_before_the_damage_arrive_and_then_the_error() -> None:
    received: list[bytes] = []
    with supervisor(partial(chains.Breaking, 5), chains.adding) as run:
        with pytest.raises(DamagedSourceError, match="ends early"):
            received.extend(item.payload for item in run)
    assert len(received) == 5


def test_a_model_error_in_a_child_is_raised_here() -> None:
    with (
        pytest.raises(ModelError, match="sha256 differs"),
        supervisor(partial(chains.Counting, 5), chains.without_model),
    ):
        pass


def test_an_exception_in_a_stage_ends_the_run_and_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with supervisor(partial(chains.Counting, 50), chains.raising, chains.adding) as run:
        with pytest.raises(WorkerError, match="first: ZeroDivisionError: division by zero"):
            list(run)
    assert "raise_at_three" in capfd.readouterr().err  # the traceback is for the report


@pytest.mark.parametrize("position", ["first", "last"])
def test_a_killed_process_is_noticed_in_under_two_seconds(position: str) -> None:
    stages = [chains.dying, chains.adding] if position == "first" else [chains.slow, chains.dying]
    with supervisor(partial(chains.Counting, 10_000), *stages) as run:
        started = time.monotonic()
        with pytest.raises(WorkerError, match="killed by signal 9"):
            list(run)
        assert time.monotonic() - started < 2


def test_a_frozen_process_ends_the_run_after_the_stall_timeout() -> None:
    with supervisor(partial(chains.Counting, 10_000), chains.freezing, stall_timeout_s=1) as run:
        with pytest.raises(WorkerError, match="no frame came for 1 s"):
            list(run)


def test_stop_lets_what_was_decoded_come_out() -> None:
    with supervisor(partial(chains.Counting, 100_000), chains.slow) as run:
        received = []
        for item in run:
            received.append(int(item.payload))
            if len(received) == 4:
                run.stop()
    assert received == list(range(len(received)))
    assert 4 <= len(received) < 20


def test_leaving_early_cleans_up() -> None:
    with supervisor(partial(chains.Counting, 100_000), chains.slow) as run:
        assert next(iter(run)).payload == b"0"


def test_a_source_that_hangs_ends_in_its_own_error_after_what_it_gave() -> None:
    """A camera or server that says nothing more: the stages are well, and nothing of them has to be killed for it."""
    received: list[bytes] = []
    started = time.monotonic()
    with supervisor(partial(chains.Hanging, 5), chains.slow, silence_s=0.5) as run:
        with pytest.raises(SourceError, match=r"no frame came for 0\.5 s"):
            received.extend(item.payload for item in run)
    assert len(received) == 5
    assert time.monotonic() - started < 20


def test_a_source_is_not_silent_while_it_waits_for_the_stages() -> None:
    with supervisor(partial(chains.Counting, 60), chains.slow, slots=2, silence_s=0.3) as run:
        assert len(list(run)) == 60


def test_a_start_can_be_stopped() -> None:
    run = supervisor(chains.never_open, chains.unchanged)
    timer = threading.Timer(0.5, run.stop)
    timer.start()
    with pytest.raises(Interrupted, match="stopped before the first frame"), run:
        pass
    timer.join()


def test_what_the_source_says_of_itself_is_known_when_it_has_started() -> None:
    with supervisor(partial(chains.Counting, 5), chains.unchanged) as run:
        assert run.about == b"numbers"
        assert len(list(run)) == 5
