"""The acceptance gate, on a real file in a real fresh process."""

from pathlib import Path

import numpy as np
import pytest

from tests.export.tiny_classifier import tiny_model
from tltool.errors import GateError
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.export.acceptance import (
    FormatComparison,
    GateSamples,
    compare_format,
    raise_gate_failures,
)
from tltool.export.convert import write_converted
from tltool.export.export_formats import FORMATS
from tltool.export.fresh_process import FreshProcess
from tltool.export.parity import reference_probabilities

ARRAYS = np.random.default_rng(0).uniform(0, 255, (10, 20, 16, 3)).astype(np.float32)
LITERT = FORMATS["litert"]


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("litert")
    write_converted(folder / LITERT.file, LITERT, tiny_model(), temperature=1.0, calibration=None)
    return folder


@pytest.fixture(name="expected", scope="module")
def _expected() -> np.ndarray:
    return reference_probabilities(tiny_model(), ARRAYS)


def compared(folder: Path, expected: np.ndarray, labels: np.ndarray) -> FormatComparison:
    samples = GateSamples([b""] * len(ARRAYS), ARRAYS, labels, expected)
    with FreshProcess(LITERT.runtime) as child:
        return compare_format(folder, LITERT, samples, max_drop=0.01, child=child)


def test_equal_predictions_pass_and_have_an_interval(folder: Path, expected: np.ndarray) -> None:
    comparison = compared(folder, expected, expected.argmax(axis=1))
    assert comparison.gate_failures == ()
    assert comparison.accuracy == 1 and comparison.drop == 0
    low, high = wilson_interval(10, 10)
    assert comparison.to_json()["same_class"] == {"value": 1.0, "low": low, "high": high}
    assert comparison.row()[-1] == "passed"
    raise_gate_failures([comparison])


def test_probabilities_beyond_the_tolerance_fail(folder: Path, expected: np.ndarray) -> None:
    other = expected + np.float32(2e-3)
    comparison = compared(folder, other, expected.argmax(axis=1))
    assert comparison.row()[-1] == "failed"
    with pytest.raises(GateError, match=r"litert \(a probability differs by 0\.002, allowed is 0"):
        raise_gate_failures([comparison])


def test_a_lower_accuracy_fails(folder: Path, expected: np.ndarray) -> None:
    shifted = np.roll(expected, 1, axis=1)
    comparison = compared(folder, shifted, shifted.argmax(axis=1))
    assert comparison.drop == 1 and comparison.same_class < comparison.n
    with pytest.raises(
        GateError, match=r"accuracy drops by 1\.000, allowed is 0\.01, less than one of the 10"
    ):
        raise_gate_failures([comparison])


def test_probabilities_that_are_not_finite_fail(folder: Path, expected: np.ndarray) -> None:
    comparison = compared(folder, np.full_like(expected, np.nan), expected.argmax(axis=1))
    with pytest.raises(GateError, match="a probability differs by inf"):
        raise_gate_failures([comparison])
