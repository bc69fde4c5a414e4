"""List, fetch and import pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.events import Observer, SilentObserver
from tltool.models.backbone_registry import get_backbone
from tltool.models.hub_store import fetch_preset
from tltool.recipe.source_text import HUB
from tltool.runs.digests import file_digest
from tltool.weights import fetch_weights, weights_store
from tltool.weights.published import PUBLISHED


def weights_folder() -> Path:
    """Return the folder of the stored weights."""
    return weights_store.weights_dir()


def weights_table() -> list[dict[str, Any]]:
    """Return one row per backbone that has published weights."""
    stored_by_name = {stored.name: stored for stored in weights_store.listing()}
    rows = []
    for backbone in map(get_backbone, PUBLISHED):
        stored = stored_by_name.get(backbone.name)
        rows.append(
            {
                "name": backbone.name,
                "stored": stored is not None,
                "megabytes": stored.path.stat().st_size / 1e6 if stored else None,
                "licence": stored.licence if stored else backbone.licence,
                "source": stored.source if stored else None,
            }
        )
    return rows


def pull_weights(
    name: str, *, offline: bool = False, observer: Observer | None = None
) -> dict[str, Any]:
    """Fetch the weights of a backbone, or a preset ``hub:PRESET``, unless they are stored.

    Raises:
        UsageError: unknown backbone.
        EnvironmentProblem: they are not available; the message lists alternatives.
    """
    if name.startswith(HUB):
        return _preset_row(name, fetch_preset(name, offline=offline))
    get_backbone(name)
    return _row(fetch_weights.pull(name, offline=offline, observer=observer or SilentObserver()))


def import_weights(name: str, file: Path) -> dict[str, Any]:
    """Copy a weights file into the store after checking that it fits the backbone.

    Raises:
        UsageError: unknown backbone, arguments in the wrong order, or the file does not fit it.
    """
    if Path(name).is_file():
        raise UsageError(
            f"'{name}' is a file; the backbone comes first",
            hint=f"tltool weights import {file} {name}",
        )
    get_backbone(name)
    return _row(fetch_weights.import_file(name, file))


def _preset_row(name: str, file: Path) -> dict[str, Any]:
    return {
        "name": name,
        "path": str(file),
        "sha256": file_digest(file),
        "source": "KerasHub",
        "licence": "",
    }


def _row(stored: weights_store.StoredWeights) -> dict[str, Any]:
    return {
        "name": stored.name,
        "path": str(stored.path),
        "sha256": stored.sha256,
        "source": stored.source,
        "licence": stored.licence,
    }
