"""What is looked at, and what is counted as dropped, when a source is faster than the stages."""

from functools import partial

import pytest

from rtau.config import Policy
from rtau.runtime.supervisor import Layout, Supervisor
from tests.rtau.runtime import chains

N = 2000


def seen(policy: Policy, slots: int = 4) -> tuple[list[int], int]:
    """What arrives of 0, 1, ... N - 1, given in far less time than the stage needs for all, and the count of drops."""
    layout = Layout(("source", partial(chains.Counting, N)), [("first", chains.slow)], policy=policy)
    with Supervisor(layout, slots, start_timeout_s=60, stall_timeout_s=30) as run:
        numbers = [int(item.payload) for item in run]
    return numbers, run.dropped


@pytest.mark.parametrize("policy", ["newest", "drop_oldest", "drop_latest"])
def test_published_and_dropped_are_what_was_captured(policy: Policy) -> None:
    numbers, dropped = seen(policy)
    assert numbers == sorted(set(numbers))
    assert dropped > 0
    assert len(numbers) + dropped == N


def test_newest_and_drop_oldest_end_with_the_last_frame() -> None:
    newest, _ = seen("newest")
    assert newest[-1] == N - 1
    oldest, _ = seen("drop_oldest")
    assert oldest[-3:] == [N - 3, N - 2, N - 1]  # as many wait as there are slots, but for the one that is looked at


def test_drop_latest_keeps_what_came_first() -> None:
    numbers, _ = seen("drop_latest")
    assert numbers[:4] == [0, 1, 2, 3]
    assert numbers[-1] < N - 1


def test_wait_drops_nothing() -> None:
    layout = Layout(("source", partial(chains.Counting, 50)), [("first", chains.slow)], policy="wait")
    with Supervisor(layout, 2, start_timeout_s=60, stall_timeout_s=30) as run:
        assert [int(item.payload) for item in run] == list(range(50))
    assert run.dropped == 0
