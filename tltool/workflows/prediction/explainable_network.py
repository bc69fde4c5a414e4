"""Load models with accessible layers: a run, or an export to the format keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from tltool.artifact import (
    Artifact,
    Description,
    load_artifact,
    read_calibration,
)
from tltool.errors import UsageError, reading
from tltool.export.model_folder import METADATA_ASSET, keras_export
from tltool.export.open_saved_model import check_export_seal
from tltool.models.model_file import load_model_file
from tltool.models.network_parts import Network
from tltool.runs.json_text import from_json
from tltool.runs.layout import CALIBRATION_FILE, MODEL_FILE, is_artifact
from tltool.workflows.preflight.model_arguments import check_explainable

_EXPORT_AGAIN = "it may be damaged; export it again: tltool export RUN --format keras"
_AFTER_LOGITS = "temperature"  # name of the layer after the logits of a Keras export


def load_explainable_network(path: Path, *, trust: bool = False) -> Artifact:
    """Load the run folder or the Keras export at ``path``.

    Args:
        path: the folder of a run; a Keras export (its newest version), one version of it, or the
            model.keras in any of them.
        trust: omit the comparison of its files with their digests.

    Raises:
        UsageError: ``path`` does not exist, or is an export without accessible layers, such as
            LiteRT or ONNX.
        DataError: it is no model, or damaged.
    """
    check_explainable(path)
    folder = path.parent if path.name == MODEL_FILE else path
    if is_artifact(folder):
        return load_artifact(folder, trust=trust)
    exported = keras_export(folder)
    if exported is not None:
        return _load_export(exported, trust=trust)
    raise UsageError(
        f"'{path}' is an export that has no accessible layers",
        hint="give the folder of its run, or export the model again with --format keras",
    )


def _load_export(folder: Path, *, trust: bool) -> Artifact:
    if not trust:
        check_export_seal(folder)
    with reading(folder, "Keras export", hint=_EXPORT_AGAIN):
        facts = from_json((folder / "assets" / METADATA_ASSET).read_text(encoding="utf-8"))
        description = _description(facts)
        model = load_model_file(folder / MODEL_FILE)
        logits = model.get_layer(_AFTER_LOGITS).input
    network = Network(
        keras.Model(model.input, logits), description.find_backbone(), description.head
    )
    return Artifact(network, description, read_calibration(folder / "assets" / CALIBRATION_FILE))


def _description(facts: dict[str, Any]) -> Description:
    fields = {name: facts[name] for name in Description.__dataclass_fields__ if name in facts}
    # an export computes in float32, whatever the arithmetic of the run
    return Description.from_json({**fields, "arithmetic": "float32"})
