"""Notation of a data source: a path, ``tfds-folder:PATH``, or ``tfds:NAME``."""

from pathlib import Path

from tltool.recipe.library import expanded

TFDS = "tfds:"
TFDS_FOLDER = "tfds-folder:"


def anchored(source: str | Path, folder: Path = Path()) -> str:
    """Return ``source`` with an absolute path, independent of the working folder.

    Args:
        source: as the user wrote it; a name of TensorFlow Datasets is left unchanged.
        folder: folder that a relative path is relative to.
    """
    text = str(source)
    if text.startswith(TFDS):
        return text
    prefix = TFDS_FOLDER if text.startswith(TFDS_FOLDER) else ""
    return prefix + str(folder.absolute() / expanded(text.removeprefix(prefix)))
