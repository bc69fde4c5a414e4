"""What the disk of a run folder cannot do: some network and FUSE disks lack locks and fsync."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tltool.runs.lock import NAME, supports_locks


def describe_missing(folder: Path) -> str:
    """Return a sentence about what the disk of a run folder lacks; empty if nothing.

    Args:
        folder: whose lock this process holds.
    """
    missing = []
    with suppress(OSError), (folder / NAME).open("r+", encoding="ascii") as file:
        if not supports_locks(file):
            missing.append("no file locks: do not work on this run with two processes at once")
    if not _flushes_folders(folder):
        missing.append("no fsync of folders: after a power cut the last epochs may be missing")
    return f"the disk of '{folder}' has {'; and '.join(missing)}" if missing else ""


def _flushes_folders(folder: Path) -> bool:
    if os.name == "nt":
        return True  # its file system orders the changes of names itself
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True
