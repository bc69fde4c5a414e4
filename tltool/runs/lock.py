"""One process per run folder. The lock goes with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tltool.errors import UsageError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder.

    Raises:
        UsageError: another process holds it.
    """
    path = folder / NAME
    with path.open("a+", encoding="ascii") as file:
        if not _take(file):
            file.seek(0)
            raise UsageError(
                f"the run '{folder}' is in use by process {file.read().strip() or 'unknown'}",
                hint="wait until it has ended, or end it",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process works on a run folder at this moment."""
    path = folder / NAME
    if not path.is_file():
        return False
    with path.open("r", encoding="ascii") as file:
        return not _take(file)


def _take(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: no lock rather than no run
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
