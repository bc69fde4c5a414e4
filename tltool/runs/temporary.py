"""The folder for temporary files, and messages that name it where it is the one that is full."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tltool.errors import EnvironmentProblem


@contextmanager
def explain_temporary_errors() -> Iterator[None]:
    """Turn errors of the disk while using the folder for temporary files into one message.

    Raises:
        EnvironmentProblem: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise temporary_problem(error.strerror or str(error)) from error


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a temporary folder, which is removed at the end.

    Raises:
        EnvironmentProblem: it cannot be made.
    """
    with explain_temporary_errors():
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    with folder as name:
        yield Path(name)


def temporary_problem(reason: str) -> EnvironmentProblem:
    """Return the error for a folder for temporary files that cannot be used."""
    try:
        where = tempfile.gettempdir()
    except OSError:  # none of those that Python tries can be written
        where = os.environ.get("TMPDIR", "/tmp")
    return EnvironmentProblem(
        f"the folder for temporary files '{where}' cannot be used: {reason}",
        hint="free some space there, or set TMPDIR to another folder",
    )


def is_disk_full(error: OSError) -> bool:
    """Whether an error says that a disk, or the quota of the user, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def names_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, says that a disk or the quota of the user is full."""
    while error is not None:
        if isinstance(error, OSError) and is_disk_full(error):
            return True
        # h5py and TensorFlow give the message of the system without its error number
        system_message = isinstance(error, OSError) or type(error).__module__.startswith(
            "tensorflow"
        )
        if system_message and says_disk_full(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def says_disk_full(text: str) -> bool:
    """Whether a message of a library or another process is that of a full disk or quota."""
    return any(os.strerror(code).lower() in text.lower() for code in (errno.ENOSPC, errno.EDQUOT))
