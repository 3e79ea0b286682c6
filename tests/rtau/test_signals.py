import os
import signal
import threading

import pytest

from rtau.errors import Interrupted
from rtau.signals import stop_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends_at_once(number: signal.Signals) -> None:
    asked: list[str] = []
    before = signal.getsignal(number)
    with stop_signals(lambda: asked.append("stop"), "stopped at once") as came:
        os.kill(os.getpid(), number)
        assert (asked, came) == (["stop"], [number])
        with pytest.raises(Interrupted, match="stopped at once"):
            os.kill(os.getpid(), number)
        assert asked == ["stop"]
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_somebody_elses() -> None:
    came: list[object] = []

    def run() -> None:
        with stop_signals(lambda: None) as signals:
            came.append(signals)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert came == [[]]
    assert signal.getsignal(signal.SIGINT) is before
