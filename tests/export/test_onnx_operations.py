"""Operations of networks that tf2onnx does not convert by itself."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnxruntime

from tltool.export.convert import write_converted
from tltool.export.export_formats import FORMATS


def test_a_network_with_gelu_runs_in_onnx_runtime(tmp_path: Path) -> None:
    images = keras.Input((4, 4, 3), name="images")
    activated = keras.layers.Activation("gelu")(keras.layers.Rescaling(1 / 50, -2.0)(images))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(activated))
    model = keras.Model(images, logits)
    file = tmp_path / "model.onnx"
    write_converted(file, FORMATS["onnx"], model, temperature=1.0, calibration=None)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels})
    np.testing.assert_allclose(found, keras.ops.softmax(model(pixels)), atol=1e-5)
