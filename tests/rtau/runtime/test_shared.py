"""One process for several chains: what it gives to whom, and what a death or a bad message costs."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from rtau.errors import LostDeviceError, ModelError, RtauError, WorkerError
from rtau.runtime.shared import BatchStage, SharedStage
from rtau.runtime.supervisor import Supervisor
from tests.rtau.runtime import chains

MANY = partial(chains.Counting, 1000)


@pytest.fixture
def shared() -> Iterator[Callable[[Callable[[], BatchStage]], SharedStage]]:
    made: list[SharedStage] = []

    def make(build: Callable[[], BatchStage], max_wait_s: float = 0.0) -> SharedStage:
        made.append(SharedStage("last", build, max_wait_s))
        return made[-1]

    yield make
    for stage in made:
        stage.close()
        assert stage.pid is None


class Reader(threading.Thread):
    """Everything that comes of a chain, in a thread of its own."""

    def __init__(self, run: Supervisor) -> None:
        super().__init__(daemon=True)
        self._run, self.came, self.error = run, list[bytes](), RtauError("has not ended")
        self.begun = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            with self._run:
                for item in self._run:
                    self.came.append(item.payload)
                    self.begun.set()
            self.error = RtauError("")
        except RtauError as error:
            self.error = error

    def ended(self) -> str:
        self.join(30)
        assert not self.is_alive()
        return str(self.error)


def test_two_chains_get_their_own_messages_in_order_and_share_batches(shared: Callable[..., SharedStage]) -> None:
    stage = shared(chains.Adding, max_wait_s=0.1)
    runs = {name: Reader(chains.joined(stage, name, partial(chains.Counting, 60))) for name in "ab"}
    for name, run in runs.items():
        assert run.ended() == ""
        assert [message.split(b"/")[0] for message in run.came] == [f"{name}:{i}".encode() for i in range(60)]
    assert any(message.endswith(b"/2") for message in runs["a"].came)
    assert stage.starts == 1


def test_messages_of_one_chain_that_are_worked_on_together_come_in_order_and_all(
    shared: Callable[..., SharedStage],
) -> None:
    run = Reader(chains.joined(shared(chains.Adding), "a", partial(chains.Counting, 8), together=3))
    assert run.ended() == ""
    assert run.came == [b"a:%d/%d" % (i, 3 if i < 6 else 2) for i in range(8)]


def test_of_messages_worked_on_together_those_before_a_bad_one_come(
    shared: Callable[..., SharedStage], capfd: pytest.CaptureFixture[str]
) -> None:
    run = Reader(chains.joined(shared(chains.Raising), "a", MANY, together=2))
    assert run.ended() == "last: ZeroDivisionError: division by zero"
    assert run.came == [b"a:0/2", b"a:1/2", b"a:2/1"]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_message_that_makes_it_raise_ends_its_own_chain_only(
    shared: Callable[..., SharedStage], capfd: pytest.CaptureFixture[str]
) -> None:
    stage = shared(chains.Raising, max_wait_s=0.05)
    other = Reader(chains.joined(stage, "b", partial(chains.Counting, 100)))
    assert other.begun.wait(30)
    bad = Reader(chains.joined(stage, "a", MANY))
    assert bad.ended() == "last: ZeroDivisionError: division by zero"
    assert [message.split(b"/")[0] for message in bad.came] == [b"a:0", b"a:1", b"a:2"]
    assert other.ended() == ""
    assert len(other.came) == 100
    assert stage.starts == 1
    assert "ZeroDivisionError" in capfd.readouterr().err  # the traceback is for the report


def test_a_lost_device_ends_the_process_and_every_chain_hears_why(
    shared: Callable[..., SharedStage], capfd: pytest.CaptureFixture[str]
) -> None:
    stage = shared(chains.Losing, max_wait_s=0.05)
    other = Reader(chains.joined(stage, "b", MANY))
    assert other.begun.wait(30)
    bad = Reader(chains.joined(stage, "a", MANY))
    for run in (bad, other):
        assert run.ended() == "NVIDIA H100 (cuda:0) failed; use --device cpu"
        assert isinstance(run.error, LostDeviceError)
    assert [message.split(b"/")[0] for message in bad.came] == [b"a:0", b"a:1", b"a:2"]
    again = Reader(chains.joined(stage, "b", partial(chains.Counting, 10)))
    assert (again.ended(), len(again.came)) == ("", 10)
    assert stage.starts == 2
    assert capfd.readouterr().err == ""


def test_its_death_ends_every_chain_and_the_next_one_starts_it_anew(shared: Callable[..., SharedStage]) -> None:
    stage = shared(chains.Adding)
    runs = [Reader(chains.joined(stage, name, MANY)) for name in "ab"]
    assert all(run.begun.wait(30) for run in runs)
    assert stage.pid is not None
    os.kill(stage.pid, signal.SIGKILL)
    assert [run.ended() for run in runs] == ["the last process was killed by signal 9"] * 2
    again = [Reader(chains.joined(stage, name, partial(chains.Counting, 10))) for name in "ab"]
    assert [run.ended() for run in again] == ["", ""]
    assert stage.starts == 2


def test_when_it_hangs_it_is_killed_within_the_timeout(shared: Callable[..., SharedStage]) -> None:
    stage = shared(chains.Adding)
    run = Reader(chains.joined(stage, "a", MANY, stall_timeout_s=0.5))
    assert run.begun.wait(30)
    pid, begun = stage.pid, time.monotonic()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert "a process is stuck" in run.ended()
    assert time.monotonic() - begun < 10
    again = Reader(chains.joined(stage, "a", partial(chains.Counting, 10)))
    assert again.ended() == ""
    assert stage.pid != pid


def test_a_chain_that_dies_leaves_the_others_alone_and_is_forgotten(shared: Callable[..., SharedStage]) -> None:
    stage = shared(chains.Telling)
    other = Reader(chains.joined(stage, "b", MANY))
    assert other.begun.wait(30)
    dying = chains.joined(stage, "a", MANY)
    run = Reader(dying)
    assert run.begun.wait(30)
    os.kill(dying.pids["first"], signal.SIGKILL)
    assert run.ended() == "the first process was killed by signal 9"
    deadline = time.monotonic() + 30
    while not other.came[-1].endswith(b"-a"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert other.came[-1] == b"+b+a-a"
    other._run.stop()
    assert other.ended() == ""


def test_a_chain_that_begins_again_is_closed_before_it_is_opened(shared: Callable[..., SharedStage]) -> None:
    stage = shared(chains.Telling)
    for opening in range(5):
        with chains.joined(stage, "a", MANY) as run:
            assert next(iter(run)).payload == b"+a-a" * opening + b"+a"  # left while messages are under way


def test_what_it_cannot_be_built_with_is_raised_for_the_chain(shared: Callable[..., SharedStage]) -> None:
    run = Reader(chains.joined(shared(chains.without_weights), "a", MANY))
    assert run.ended() == "weights: sha256 differs"
    assert isinstance(run.error, ModelError)
    assert not isinstance(run.error, WorkerError)
