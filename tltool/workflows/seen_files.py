"""Files that the machines of a cluster must see as the machine of the command does."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tltool.errors import EnvironmentProblem

SeenFile = tuple[str, int | None]
"""An absolute path, and the size of the file in bytes; None where this process cannot read it."""


def as_seen(paths: Iterable[str]) -> list[SeenFile]:
    """Return files as this process sees them, JSON-ready.

    Args:
        paths: may be relative.

    Examples:
        >>> as_seen(["a.jpg", "gone.jpg"])
        [('/data/a.jpg', 2048), ('/data/gone.jpg', None)]
    """
    absolute = (str(Path(path).absolute()) for path in paths)  # '..' stays: it may follow a link
    return [(path, _size(path)) for path in absolute]


def check_seen(files: Iterable[SeenFile]) -> None:
    """Check that this process sees files as another one does.

    Args:
        files: as the other process sees them.

    Raises:
        EnvironmentProblem: one is missing here, cannot be read or has another size.
    """
    for path, expected in files:
        size = _size(path)
        if size != expected:
            here, there = (_described(one) for one in (size, expected))
            raise EnvironmentProblem(
                f"the machine '{platform.node()}' of the cluster and that of this command see "
                f"different files under '{path}': {here} and {there}",
                hint="mount the same disk under the same path on every machine, and start the "
                "command again when nothing writes to it; for archives and downloads, "
                "TLTOOL_DATA_DIR names the folder of their files",
            )


def check_present(path: Path) -> None:
    """Check that this process sees a file or folder of the command.

    Raises:
        EnvironmentProblem: it does not.
    """
    if not path.exists():
        raise EnvironmentProblem(
            f"the machine '{platform.node()}' of the cluster does not see '{path}'",
            hint="mount the same disk under the same path on every machine",
        )


def enter_working_folder(folder: str) -> None:
    """Let relative paths of the command mean the same in this process, where that is possible.

    Args:
        folder: the working folder of the command.
    """
    with suppress(OSError):  # then this machine sees no file below it either
        os.chdir(folder)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size if os.access(path, os.R_OK) else None  # noqa: PTH116
    except OSError:
        return None


def _described(size: int | None) -> str:
    return "none that can be read" if size is None else f"{size:,} bytes"
