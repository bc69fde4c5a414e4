"""Files that a power cut leaves whole, and new files that replace no other."""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tltool.errors import UsageError

# error numbers by which a network or FUSE disk says that it lacks an operation
_NOT_SUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP)
_NOT_FOR_FOLDERS = (*_NOT_SUPPORTED, errno.EINVAL, errno.EBADF, errno.EACCES)
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.new(\..*)?", re.DOTALL)
_STALE_SECONDS = 24 * 3600.0


def write_durably(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; the old file stays until the new one is on disk.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    with replaced_file(path) as part:
        part.write_bytes(data)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; at the end the file replaces ``path`` in one step, durably.

    After an error, a kill or a power cut ``path`` is as it was, or whole and new. Links are
    followed, and what is no regular file, such as ``/dev/stdout``, is written to directly.

    Raises:
        OSError: it cannot be written; the old file is as it was.

    Examples:
        >>> with replaced_file(Path("metrics.json")) as part:
        ...     part.write_text("{}")
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()
    part = unfinished_name(path)
    with removed_on_error(part):
        yield part
        flush(part)
        part.replace(path)
    flush(path.parent)


def sync(descriptor: int) -> None:
    """Wait until an open file is on disk, where its file system can do that.

    Raises:
        OSError: it cannot be written to the disk.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Some network and FUSE disks cannot do that for a folder; the files in it are still flushed.

    Raises:
        OSError: a file cannot be written to the disk.
    """
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    try:
        descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in _NOT_FOR_FOLDERS:
            raise


def flush_tree(folder: Path) -> None:
    """Wait until all files below a folder, and their names, are on disk.

    Raises:
        OSError: a file cannot be written to the disk.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                flush(path)
        flush(Path(place))


@contextmanager
def removed_on_error(*paths: Path) -> Iterator[None]:
    """Remove files that exist where the body raises an error: unfinished ones."""
    try:
        yield
    except BaseException:
        for path in paths:
            with suppress(OSError):
                path.unlink()
        raise


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; the file gets its name ``path`` at the end, or stays without one.

    Raises:
        UsageError: ``path`` exists by then; it is unchanged.
        OSError: it cannot be written.

    Examples:
        >>> with new_file(Path("report.html")) as part:
        ...     part.write_text("<p>done</p>")
    """
    remove_unfinished(path.parent, older_than=_STALE_SECONDS)
    part = unfinished_name(path)
    try:
        yield part
        flush(part)
        publish_new(part, path)
        flush(path.parent)
    except FileExistsError:
        raise UsageError(
            f"'{path}' exists", hint="no file is replaced: give another name"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def publish_new(part: Path, target: Path) -> None:
    """Give a finished file its name; a file of that name is never replaced.

    On a disk without hard links, such as exFAT, a file of that name is replaced if another process
    makes it in the same instant.

    Raises:
        FileExistsError: ``target`` exists, also if another process has just made it.
        OSError: it cannot be written.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        part.rename(target)
    else:
        part.unlink()


def remove_unfinished(folder: Path, *, older_than: float = 0.0) -> None:
    """Remove files of a folder whose writing was ended by a kill or a power cut.

    Args:
        folder: it may be absent.
        older_than: seconds since the last change; younger files may be of a running process.
    """
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            with suppress(OSError):
                unfinished = is_unfinished(entry.name) and entry.is_file()
                if unfinished and time.time() - entry.stat().st_mtime >= older_than:
                    os.unlink(entry.path)  # noqa: PTH108


def is_unfinished(name: str) -> bool:
    """Whether a file has a name that files have here while they are written."""
    return _UNFINISHED.fullmatch(name) is not None


def unfinished_name(path: Path) -> Path:
    """Return a name beside ``path`` that no other process uses, with the same suffix."""
    return path.with_name(f".{uuid.uuid4().hex}.new{path.suffix}")
