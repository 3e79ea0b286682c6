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


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_terminal_that_closes_asks_once_however_often_it_says_so() -> None:
    asked: list[str] = []
    with stop_signals(lambda: asked.append("stop")):
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked == ["stop"]
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_under_nohup_a_terminal_may_close() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals(lambda: None) as came:
            os.kill(os.getpid(), signal.SIGHUP)
            assert came == []
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


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
