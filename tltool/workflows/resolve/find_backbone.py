"""Find a backbone by its name: of the registry, or the path of a model file."""

from __future__ import annotations

import functools
from pathlib import Path

from tltool.errors import UsageError
from tltool.models.backbone_registry import Backbone, PreprocessMode, get_backbone
from tltool.models.hub_store import hub_file
from tltool.recipe.source_text import HUB, is_model_file
from tltool.runs.keras_setup import load_keras


def find_backbone(
    reference: str, preprocessing: PreprocessMode | None = None, *, side: int | None = None
) -> Backbone:
    """Return the backbone of the registry or of the file that ``reference`` names.

    Args:
        reference: a name of the registry, the path of a Keras model without its head, or
            ``hub:PRESET`` or ``hub:FOLDER`` for a preset of KerasHub.
        preprocessing: what the model of a file expects; None where it scales its input itself.
        side: of the images, pixels; None for the backbone's own.

    Raises:
        UsageError: there is no such backbone, or the file does not fit.
        EnvironmentProblem: Keras cannot be imported, which a file needs; or KerasHub is missing.

    Examples:
        >>> find_backbone("vgg16").image_size
        224
    """
    if reference.startswith(HUB):
        path = hub_file(reference)
    elif is_model_file(reference):
        path = Path(reference).expanduser()
    else:
        return get_backbone(reference)
    if path.is_dir():
        raise UsageError(
            f"the backbone '{path}' is a folder, not the file of a Keras model",
            hint="save the model with model.save('backbone.keras') and give that file",
        )
    if not path.is_file():
        raise UsageError(
            f"there is no backbone '{path}'",
            hint="give a .keras file that exists, or a name of `tltool backbones list`",
        )
    status = path.stat()
    return _read(path, preprocessing, side, (status.st_mtime_ns, status.st_size))


def at_side(backbone: Backbone, side: int) -> Backbone | None:
    """Return a backbone for images of ``side`` pixels; None if its file does not take them.

    Examples:
        >>> at_side(get_backbone("vgg16"), 64).name
        'vgg16'
    """
    if backbone.file is None:
        return backbone
    try:
        return find_backbone(str(backbone.file.path), backbone.preprocessing, side=side)
    except UsageError:
        return None


@functools.lru_cache(maxsize=8)
def _read(
    path: Path, preprocessing: PreprocessMode | None, side: int | None, stamp: tuple[int, int]
) -> Backbone:
    """Read a file once for all checks of a command."""
    del stamp
    load_keras()
    from tltool.models.own_backbone import read_own_backbone
    from tltool.training.own_settings import own_settings

    with own_settings():
        return read_own_backbone(path, preprocessing, side=side)
