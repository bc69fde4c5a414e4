"""Write OpenVINO's files, model.xml and model.bin, with Keras' exporter."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import keras

_TELEMETRY_SWITCH = "CI"  # OpenVINO's converter has no other: it sends nothing from CI jobs


def write_openvino(path: Path, model: keras.Model) -> None:
    """Write ``path`` (.xml) and the weights next to it (.bin), in float32.

    The tensors have the names of those of the other formats: ``images`` and ``probabilities``.

    Args:
        path: of the .xml file.
        model: images float32 [B, H, W, 3] to probabilities [B, C].

    Raises:
        OSError: they cannot be written.
        Exception: of any type, if the model cannot be converted.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".openvino-") as folder:
        draft = Path(folder) / "model.xml"
        with _without_telemetry(), redirect_stdout(io.StringIO()):
            model.export(str(draft), format="openvino", verbose=False)
            import openvino

        network = openvino.Core().read_model(str(draft))
        network.inputs[0].tensor.set_names({"images"})
        network.outputs[0].tensor.set_names({"probabilities"})
        openvino.serialize(network, str(path))


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Keep OpenVINO's converter from sending events and from writing into the home folder."""
    before = os.environ.get(_TELEMETRY_SWITCH)
    os.environ[_TELEMETRY_SWITCH] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TELEMETRY_SWITCH]
        else:
            os.environ[_TELEMETRY_SWITCH] = before
