"""Notation of a data source: a path, ``tfds:NAME``, or a path after ``tfds-folder:`` and others."""

import re
from pathlib import Path

from tltool.recipe.library import expanded
from tltool.storage.address import is_object_store

TFDS = "tfds:"
TFDS_FOLDER = "tfds-folder:"
PARQUET = "parquet:"
WDS = "wds:"
HUB = "hub:"
_PATH_PREFIXES = (TFDS_FOLDER, PARQUET, WDS)
_GENERAL_NAMES = {"data", "dataset", "images", "train", "training"}  # say nothing of the content
_LONGEST_NAME = 64  # letters of the name of a run
_MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
PREFIXES = (TFDS, *_PATH_PREFIXES)
"""Of sources that are not simply a path."""


def local_path(source: str) -> str:
    """Return a source without ``tfds-folder:``, ``parquet:`` or ``wds:``, which is then a path."""
    for prefix in _PATH_PREFIXES:
        if source.startswith(prefix):
            return source.removeprefix(prefix)
    return source


def is_remote(source: str) -> bool:
    """Return whether a source is in an object store.

    Examples:
        >>> is_remote("wds:s3://bucket/train.tar"), is_remote("photos")
        (True, False)
    """
    return is_object_store(local_path(source))


def is_model_file(backbone: str) -> bool:
    """Whether a backbone is the file of a model, and not a name.

    Examples:
        >>> is_model_file("models/backbone.keras"), is_model_file("vgg16")
        (True, False)
    """
    if backbone.startswith(HUB):
        return False
    return backbone.lower().endswith(_MODEL_SUFFIXES) or "/" in backbone or "\\" in backbone


def anchored_backbone(backbone: str, folder: Path) -> str:
    """Return a backbone whose path, if it is one, is absolute; names are left unchanged."""
    preset = backbone.removeprefix(HUB)
    if backbone.startswith(HUB) and ("/" in preset or "\\" in preset or (folder / preset).is_dir()):
        return HUB + anchored(preset, folder)
    return anchored(backbone, folder) if is_model_file(backbone) else backbone


def run_name(backbone: str) -> str:
    """Return the name of a run with a backbone; after a file, without what no name may have.

    Examples:
        >>> run_name("models/my net.keras")
        'my_net'
    """
    if not is_model_file(backbone) and re.fullmatch(r"[A-Za-z0-9._-]+", backbone):
        return backbone
    return _as_name(Path(backbone.removeprefix(HUB)).stem) or "own_backbone"


def data_name(source: str) -> str:
    """Return the name of what is learned from a source: that of its folder, file or data set.

    After a folder such as ``birds/train``, whose own name is general, it is the one above. Empty if
    the name has no letter or digit that a name may have.

    Examples:
        >>> data_name("tfds:tf_flowers:3.0.1"), data_name("pets.tar.gz")
        ('tf_flowers', 'pets')
    """
    if source.startswith(TFDS):
        return _as_name(re.split(r"[:/]", source.removeprefix(TFDS))[0])
    path = Path(local_path(source))
    is_folder = not path.suffix
    if not is_remote(source):
        path = Path(anchored(path)).resolve()
        is_folder = path.is_dir()
    if not is_folder:
        return _as_name(path.name.lstrip(".").partition(".")[0])
    if path.name.lower() in _GENERAL_NAMES and _as_name(path.parent.name):
        path = path.parent
    return _as_name(path.name)


def _as_name(text: str) -> str:
    """Return text without what the name of a run may not have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-")[:_LONGEST_NAME]


def anchored(source: str | Path, folder: Path = Path()) -> str:
    """Return ``source`` with an absolute path, independent of the working folder.

    Args:
        source: as the user wrote it; a name of TensorFlow Datasets or the address of an object
            store is left unchanged.
        folder: folder that a relative path is relative to.
    """
    text = str(source)
    if text.startswith(TFDS) or is_remote(text):
        return text
    path = local_path(text)
    prefix = text.removesuffix(path)
    return prefix + str(folder.absolute() / expanded(path))
