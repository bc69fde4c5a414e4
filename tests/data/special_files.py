"""Names of images behind which there is no regular file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType


def _make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as unused:
            unused.bind(path.name)
    finally:
        os.chdir(here)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe"))


SPECIAL: Mapping[str, Callable[[Path], object]] = MappingProxyType(
    {
        "pipe": os.mkfifo,
        "link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "link to a pipe": _link_to_pipe,
        "folder": Path.mkdir,
        "socket": _make_socket,
    }
)
"""What makes each kind, at a path that does not exist."""


def replace_by(kind: str, path: Path) -> None:
    """Replace a file by what is of a kind of ``SPECIAL``."""
    path.unlink()
    SPECIAL[kind](path)
