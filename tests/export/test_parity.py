"""The parity check, in real fresh processes."""

from pathlib import Path

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

from tests.export.tiny_classifier import SPEC, encoded, export
from tltool.data.decoding.decode import decode_batch
from tltool.errors import GateError
from tltool.export import fresh_process
from tltool.export.parity import ParityChild, check_parity, reference_probabilities

REAL_CHILD = fresh_process.start_child  # before tests/conftest.py puts another one in its place
COUNT = 11  # more than one batch of the child, and not a whole number of them


@pytest.fixture(autouse=True)
def _real_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_process, "start_child", REAL_CHILD)


@pytest.fixture(scope="module", name="images")
def _images() -> list[bytes]:
    return [encoded(seed, size=(30 + seed, 25)) for seed in range(COUNT)]


@pytest.fixture(scope="module", name="arrays")
def _arrays(images: list[bytes]) -> np.ndarray:
    return np.asarray(decode_batch(tf.constant(images), SPEC)[0])


def test_an_export_passes_before_it_gets_its_number(
    model: keras.Model, images: list[bytes], arrays: np.ndarray, tmp_path: Path
) -> None:
    expected = reference_probabilities(model, arrays)
    results = []
    with ParityChild() as child:
        version = export(
            model,
            tmp_path / "tiny",
            verify=lambda folder: results.append(
                child.check(folder, images=images, arrays=arrays, expected=expected)
            ),
        )
    assert version == tmp_path / "tiny" / "1"
    assert results[0].n == COUNT and results[0].label_agreement == 1
    assert max(results[0].max_abs_difference.values()) <= 1e-5
    assert set(results[0].max_abs_difference) == {"bytes", "images"}


@pytest.mark.thorough
def test_probabilities_of_another_model_fail_with_the_differences(
    exported: Path, model: keras.Model, images: list[bytes], arrays: np.ndarray
) -> None:
    expected = reference_probabilities(model, arrays)[:, ::-1]
    with pytest.raises(GateError, match=r"11 images .* bytes 0\.\d+, images 0\.\d+ .*1e-05"):
        check_parity(exported, images=images, arrays=arrays, expected=expected)


def test_a_model_that_does_not_run_alone_fails(
    images: list[bytes], arrays: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x00damaged")
    with pytest.raises(GateError, match="does not run in a fresh process"):
        check_parity(
            tmp_path, images=images, arrays=arrays, expected=np.zeros((COUNT, 3), np.float32)
        )


def test_the_fresh_process_ends_when_the_parent_is_interrupted() -> None:
    before, children = psutil.Process().children(), list[psutil.Process]()
    with pytest.raises(KeyboardInterrupt), ParityChild():
        children += [one for one in psutil.Process().children() if one not in before]
        raise KeyboardInterrupt
    assert len(children) == 1 and not children[0].is_running()


def test_lists_of_different_length_are_an_error(arrays: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 images"):
        check_parity(
            tmp_path, images=[b"", b""], arrays=arrays, expected=np.zeros((COUNT, 3), np.float32)
        )
