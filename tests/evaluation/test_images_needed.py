"""How many images an interval needs: the inverse of the width of Wilson's interval."""

from __future__ import annotations

import pytest

from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.evaluation.metrics.images_needed import images_for_half_width


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("half", [0.01, 0.05, 0.2])
def test_it_is_the_least_number_whose_wilson_interval_is_that_narrow(
    rate: float, half: float
) -> None:
    needed = images_for_half_width(rate, half)

    def width(n: int) -> float:
        low, high = wilson_interval(rate * n, n)
        return (high - low) / 2

    assert width(needed) <= half + 1e-9 < width(needed - 1) + 1e-3
    assert width(needed - 1) > half


def test_the_figures_of_the_documentation() -> None:
    assert [images_for_half_width(rate, 0.05) for rate in (0.5, 0.9, 1.0)] == [381, 141, 35]
