"""Load models with accessible layers: a run, or an export to the format keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras

from tltool.artifact import (
    Artifact,
    Description,
    is_artifact,
    load_artifact,
    read_calibration,
)
from tltool.errors import DataError, UsageError
from tltool.export.exported_model import version_folder
from tltool.export.saved_model import METADATA_ASSET
from tltool.export.versions import versions
from tltool.models.backbone_registry import get_backbone
from tltool.models.network_parts import Network
from tltool.runs.layout import CALIBRATION_FILE, MODEL_FILE

_AFTER_LOGITS = "temperature"  # name of the layer after the logits of a Keras export


def load_explainable_network(path: Path) -> Artifact:
    """Load the run folder or the Keras export at ``path``.

    Args:
        path: the folder of a run; a Keras export (its newest version), one version of it, or the
            model.keras in any of them.

    Raises:
        UsageError: ``path`` does not exist, or is an export without accessible layers, such as
            LiteRT or ONNX.
        DataError: it is no model, or damaged.
    """
    if not path.exists():
        raise UsageError(
            f"there is no model '{path}'",
            hint="give the folder of a run (runs/…) or of a Keras export (saved_models/…-keras)",
        )
    folder = path.parent if path.name == MODEL_FILE else path
    if is_artifact(folder):
        return load_artifact(folder)
    exported = _keras_export(folder)
    if exported is not None:
        return _load_export(exported)
    if _is_export(folder):
        raise UsageError(
            f"'{path}' is an export that has no accessible layers",
            hint="give the folder of its run, or export the model again with --format keras",
        )
    raise DataError(
        f"'{path}' contains neither a finished run nor an exported model",
        hint="give the folder of a run (runs/…) or of a Keras export (saved_models/…-keras)",
    )


def _keras_export(folder: Path) -> Path | None:
    """Return the version folder of a Keras export: ``folder`` itself or its newest version."""
    candidates = [folder, *(folder / str(number) for number in reversed(versions(folder)))]
    return next((one for one in candidates if (one / MODEL_FILE).is_file()), None)


def _is_export(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    candidates = [folder, *(folder / str(number) for number in versions(folder))]
    return version_folder(folder) is not None or any(
        (one / "assets" / METADATA_ASSET).is_file() for one in candidates
    )


def _load_export(folder: Path) -> Artifact:
    try:
        facts = json.loads((folder / "assets" / METADATA_ASSET).read_text(encoding="utf-8"))
        description = _description(facts)
        model = keras.saving.load_model(folder / MODEL_FILE, compile=False, safe_mode=True)
        logits = model.get_layer(_AFTER_LOGITS).input
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).split("\n", 1)[0]
        raise DataError(
            f"the Keras export '{folder}' is damaged, or was not written by tltool: {first}",
            hint="export it again: tltool export RUN --format keras",
        ) from None
    network = Network(
        keras.Model(model.input, logits), get_backbone(description.backbone), description.head
    )
    return Artifact(network, description, read_calibration(folder / "assets" / CALIBRATION_FILE))


def _description(facts: dict[str, Any]) -> Description:
    fields = {name: facts[name] for name in Description.__dataclass_fields__ if name in facts}
    # an export computes in float32, whatever the arithmetic of the run
    return Description.from_json({**fields, "arithmetic": "float32"})
