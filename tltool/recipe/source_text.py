"""How a source of images is spelled: a path, ``tfds-folder:PATH``, or ``tfds:NAME``."""

from pathlib import Path

from tltool.recipe.library import expanded

TFDS = "tfds:"
TFDS_FOLDER = "tfds-folder:"


def anchored(source: str | Path, folder: Path = Path()) -> str:
    """Return ``source`` with an absolute path, so that it means the same from everywhere.

    Args:
        source: as the user spelled it; a name of TensorFlow Datasets stays as it is.
        folder: where a relative path starts.
    """
    text = str(source)
    if text.startswith(TFDS):
        return text
    prefix = TFDS_FOLDER if text.startswith(TFDS_FOLDER) else ""
    return prefix + str(folder.absolute() / expanded(text.removeprefix(prefix)))
