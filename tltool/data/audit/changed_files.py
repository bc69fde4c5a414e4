"""Reports images that were deleted or changed while a command uses them, after their audit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.decoding.image_errors import ChangedImageError, ImageError
from tltool.data.decoding.image_file import read_image_file
from tltool.errors import DataError, one_line

# TensorFlow passes on an error of Python as text.
_IN_TENSORFLOW = re.compile(rf"^(?:[\w.]+\.)?{ChangedImageError.__name__}: (.+)$", re.MULTILINE)
_HINT = "put the files back as they were; do not change them while a command uses them"


class ChangedFilesError(DataError):
    """Images are not as they were in the audit."""


@contextmanager
def files_as_audited(items: Callable[[], Sequence[Item]]) -> Iterator[None]:
    """Report that files have changed instead of the error to which it leads, if they have.

    Args:
        items: returns the audited files; none before the audit.

    Raises:
        ChangedFilesError: an error occurred, and a file is gone or different.
        Exception: the error, if all files are as before.
    """
    try:
        yield
    except Exception as error:
        if not _may_be_caused_by_files(error):
            raise
        problem = changed_files_error(items()) or _read_error(error)
        if problem is None:
            raise
        raise problem from error


def changed_files_error(items: Sequence[Item]) -> ChangedFilesError | None:
    """Return the error about files that are gone or, if none is, about the first different one.

    Args:
        items: audited files.
    """
    gone = [item.path for item in items if not item.path.exists()]
    if gone:
        return _error(gone, "gone")
    different = next((item.path for item in items if _has_changed(item)), None)
    return None if different is None else _error([different], "different or unreadable")


def _read_error(error: Exception) -> ChangedFilesError | None:
    """Return the error about a file that was found different, and is as before again."""
    sentence = _IN_TENSORFLOW.search(str(error))
    return None if sentence is None else ChangedFilesError(sentence[1], hint=_HINT)


def _may_be_caused_by_files(error: Exception) -> bool:
    # by name: importing TensorFlow takes seconds
    kind = type(error)
    from_tensorflow = kind.__module__.startswith("tensorflow")
    out_of_memory = kind.__name__ == "ResourceExhaustedError"
    return isinstance(error, OSError | ImageError) or (from_tensorflow and not out_of_memory)


def _has_changed(item: Item) -> bool:
    try:
        read_image_file(item.path, sha256=item.sha256)
    except ImageError:
        return True
    return False


def _error(paths: Sequence[Path], how: str) -> ChangedFilesError:
    first = one_line(f"{paths[0].parent.name}/{paths[0].name}")
    files = f"{first} is" if len(paths) == 1 else f"{first} and {len(paths) - 1:,} more images are"
    return ChangedFilesError(
        f"{files} {how} since the audit at the start of this command", hint=_HINT
    )
