"""Properties of files that give the class away, among few classes and many."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.data.checks.scan import FEATURES
from tltool.data.checks.shortcuts import find_shortcuts


def columns(labels: np.ndarray, *, told: bool) -> dict[str, np.ndarray]:
    """Return noise in every column, and a width that tells the class or does not."""
    rng = np.random.default_rng(0)
    found = {name: rng.normal(size=len(labels)).astype(np.float32) for name in FEATURES}
    if told:
        found["width"] = (100 + 10 * labels).astype(np.float32)
    return found


@pytest.mark.parametrize("classes", [2, 10, 20, 102])
def test_a_width_that_tells_the_class_is_found(classes):
    labels = np.repeat(np.arange(classes), 40)
    found = find_shortcuts(columns(labels, told=True), [""] * len(labels), labels)
    assert [one.name for one in found if one.found] == ["width"]
    assert found[0].lift > 0.9


@pytest.mark.parametrize("classes", [2, 20])
def test_noise_is_no_shortcut(classes):
    labels = np.repeat(np.arange(classes), 40)
    found = find_shortcuts(columns(labels, told=False), [""] * len(labels), labels)
    assert not any(one.found for one in found)


@pytest.mark.parametrize("photos", [1, 4, 6])
def test_thousands_of_small_classes_are_borne(photos):
    labels = np.repeat(np.arange(3000), photos)
    assert not any(
        one.found for one in find_shortcuts(columns(labels, told=False), [""] * len(labels), labels)
    )
