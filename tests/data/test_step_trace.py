"""How long a loop waits for its batches."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tltool.data.step_trace import StepTrace


def slow(count: int, seconds: float) -> Iterator[int]:
    for number in range(count):
        time.sleep(seconds)
        yield number


@pytest.mark.parametrize(
    ("waiting", "working", "low", "high"),
    [(0.02, 0.0, 0.9, 1.0), (0.0, 0.02, 0.0, 0.1), (0.02, 0.02, 0.3, 0.7)],
)
def test_time_is_waiting_or_work(waiting, working, low, high):
    trace, seen = StepTrace(), []
    for number in trace.over(slow(5, waiting)):
        time.sleep(working)
        seen.append(number)
    assert seen == [0, 1, 2, 3, 4]
    assert (len(trace.waits), len(trace.works)) == (6, 5)
    assert low <= trace.share <= high


def test_an_empty_loop_only_waits_for_its_end():
    trace = StepTrace()
    assert list(trace.over([])) == []
    assert len(trace.waits) == 1
    assert trace.works == []
