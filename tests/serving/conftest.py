"""One tiny export, and one server of it, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.export.tiny_classifier import export, tiny_model
from tests.serving.live_server import Live, serving, versions_of
from tltool.artifact import Calibration
from tltool.runs.layout import CALIBRATION_FILE
from tltool.serving.settings import Limits, Settings
from tltool.training.reference import Reference

LIMITS = Limits(body_bytes=2**20, pixels=1_000_000, body_seconds=2.0, header_seconds=1.0, images=8)
REFERENCE = Reference(
    np.arange(120) % 3, np.linspace(0.9, 1, 120, dtype=np.float32), np.ones(120, bool)
)
"""Of a model that predicts each class as often, and is always sure."""
SETTINGS = Settings(limits=LIMITS, drain_seconds=0.0, poll_seconds=0.1)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of version 1."""
    base = tmp_path_factory.mktemp("saved_models") / "tiny"
    calibration = Calibration(reference=REFERENCE).to_bytes()
    return export(tiny_model(), base, assets={CALIBRATION_FILE: calibration})


@pytest.fixture(scope="session")
def live(exported: Path) -> Iterator[Live]:
    with serving(versions_of(exported.parent), SETTINGS) as running:
        yield running


@pytest.fixture(scope="session")
def model(exported: Path) -> Callable[[list[bytes]], dict[str, Any]]:
    """The outputs of the same export without a server."""
    loaded = tf.saved_model.load(str(exported))
    signature = loaded.signatures["serving_default"]

    def predict(contents: list[bytes]) -> dict[str, Any]:
        outputs = signature(image_bytes=tf.constant(contents, tf.string))
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    predict.kept = loaded  # type: ignore[attr-defined]
    return predict
