"""What the gate lets through and what it refuses, over a real file in a real fresh process."""

from pathlib import Path

import numpy as np
import pytest

from tests.export.tiny_classifier import tiny_model
from tltool.errors import GateError
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.export.acceptance import Figures, GateSamples, measure, refuse_any
from tltool.export.convert import write_converted
from tltool.export.export_formats import FORMATS
from tltool.export.fresh_process import FreshProcess
from tltool.export.parity import reference_probabilities

ARRAYS = np.random.default_rng(0).uniform(0, 255, (10, 20, 16, 3)).astype(np.float32)
KNOWN = FORMATS["litert"]


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("litert")
    write_converted(folder / KNOWN.file, KNOWN, tiny_model(), temperature=1.0, calibration=None)
    return folder


@pytest.fixture(name="expected", scope="module")
def _expected() -> np.ndarray:
    return reference_probabilities(tiny_model(), ARRAYS)


def figures(folder: Path, expected: np.ndarray, labels: np.ndarray) -> Figures:
    photos = GateSamples([b""] * len(ARRAYS), ARRAYS, labels, expected)
    with FreshProcess(KNOWN.runtime) as child:
        return measure(folder, KNOWN, photos, max_drop=0.01, child=child)


def test_the_same_answers_pass_with_their_interval(folder: Path, expected: np.ndarray) -> None:
    found = figures(folder, expected, expected.argmax(axis=1))
    assert found.problems == () and found.accuracy == 1 and found.drop == 0
    told = found.to_json()
    low, high = wilson_interval(10, 10)
    assert told["same_class"] == {"value": 1.0, "low": low, "high": high}
    assert found.row()[-1] == "passed"
    refuse_any([found])


def test_answers_beyond_the_tolerance_are_refused(folder: Path, expected: np.ndarray) -> None:
    other = expected + np.float32(2e-3)
    found = figures(folder, other, expected.argmax(axis=1))
    with pytest.raises(GateError, match=r"litert \(a probability differs by 0\.002, allowed is 0"):
        refuse_any([found])


def test_a_lower_accuracy_is_refused(folder: Path, expected: np.ndarray) -> None:
    turned = np.roll(expected, 1, axis=1)
    found = figures(folder, turned, turned.argmax(axis=1))
    assert found.drop == 1 and found.same_class < found.n
    with pytest.raises(GateError, match=r"accuracy drops by 1\.000, allowed is 0\.01"):
        refuse_any([found])


def test_what_is_no_number_is_refused(folder: Path, expected: np.ndarray) -> None:
    found = figures(folder, np.full_like(expected, np.nan), expected.argmax(axis=1))
    with pytest.raises(GateError, match="a probability differs by inf"):
        refuse_any([found])
