"""One process per run folder. The lock goes with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tltool.errors import EnvironmentProblem, UsageError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder.

    Raises:
        UsageError: another process holds it.
        EnvironmentProblem: the folder cannot be written to.
    """
    with _open(folder) as file:
        if not take_lock(file):
            file.seek(0)
            raise UsageError(
                f"the run '{folder}' is in use by process {file.read().strip() or 'unknown'}",
                hint="wait until it has ended, or end it",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def waiting_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, once other processes have released it.

    Yields:
        Whether there is a lock: some network disks have none.

    Raises:
        EnvironmentProblem: the folder cannot be written to.
    """
    with _open(folder) as file:
        yield take_lock(file, wait=True) and supports_locks(file)


def is_locked(folder: Path) -> bool:
    """Whether a process works on a run folder at this moment.

    A lock of another user that cannot even be read counts as held.
    """
    path = folder / NAME
    try:
        try:
            file = path.open("r+", encoding="ascii")  # NFS locks only what is open for writing
        except OSError:  # of another user, or on a read-only disk
            file = path.open("r", encoding="ascii")
    except PermissionError:
        return True
    except OSError:  # there is none
        return False
    with file:
        return not take_lock(file)


def take_lock(file: IO[str], *, wait: bool = False) -> bool:
    """Lock an open file until it is closed; return whether that was possible.

    Without support for locks (Windows, some network disks) it counts as locked by this process.

    Args:
        file: open for writing, because NFS locks no other.
        wait: wait for the process that holds the lock.
    """
    try:
        _flock(file, wait=wait)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # no lock rather than no run
        return True
    return True


def supports_locks(file: IO[str]) -> bool:
    """Whether the disk of an open file has locks; one that is held elsewhere says so too."""
    try:
        _flock(file, wait=False)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return True


def has_locks(folder: Path) -> bool:
    """Whether the disk of a folder has locks.

    Raises:
        EnvironmentProblem: the folder cannot be written to.
    """
    with _open(folder) as file:
        return supports_locks(file)


def _flock(file: IO[str], *, wait: bool) -> None:
    import fcntl  # not on Windows

    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open(folder: Path) -> IO[str]:
    path = folder / NAME
    try:
        return path.open("a+", encoding="ascii")
    except OSError as error:
        raise EnvironmentProblem(
            f"'{path}' cannot be opened: {error.strerror}",
            hint="the folder may belong to another user; work on a copy of it",
        ) from None
