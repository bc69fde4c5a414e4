"""The model file of a run whose backbone is the user's own: a copy lies in the run folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from tltool.errors import DataError, EnvironmentProblem, GateError
from tltool.models.backbone_registry import Backbone
from tltool.recipe.schema import Recipe
from tltool.runs.digests import file_digest
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import Manifest
from tltool.storage.durable import replaced_file


def recorded_backbone(backbone: Backbone) -> dict[str, str]:
    """Return what manifest.json says about the backbone."""
    recorded = {"name": backbone.name, "preprocessing": backbone.preprocessing}
    if backbone.file:
        recorded |= {"file": str(backbone.file.path), "sha256": backbone.file.sha256}
    return recorded


def keep_backbone(layout: RunLayout, backbone: Backbone) -> None:
    """Copy the file of the user's own backbone into the run folder.

    Raises:
        EnvironmentProblem: it cannot be copied.
    """
    if backbone.file is None:
        return
    try:
        layout.backbone.mkdir(exist_ok=True)  # a run that was killed at its start leaves it behind
        with replaced_file(layout.backbone / backbone.file.path.name) as part:
            shutil.copyfile(backbone.file.path, part)
    except OSError as error:
        raise EnvironmentProblem(
            f"'{backbone.file.path}' cannot be copied into the run folder: {error.strerror}"
        ) from None


def with_kept_backbone(recipe: Recipe, layout: RunLayout, manifest: Manifest) -> Recipe:
    """Return the recipe of a run with the path where the file of its backbone is now.

    Raises:
        DataError: the file is gone.
        GateError: it has changed since.
    """
    recorded = manifest.backbone or {}
    digest = recorded.get("sha256")
    if digest is None:
        return recipe
    original = Path(recorded["file"])
    copy = layout.backbone / original.name
    hint = f"restore the file, whose SHA-256 is {digest}"
    path = next((path for path in (copy, original) if path.is_file()), None)
    if path is None:
        raise DataError(f"the backbone of the run, '{copy}', is gone", hint=hint)
    if file_digest(path) != digest:
        raise GateError(f"the backbone of the run, '{path}', has changed since the run", hint=hint)
    model = recipe.model.model_copy(update={"backbone": str(path.absolute())})
    return recipe.model_copy(update={"model": model})
