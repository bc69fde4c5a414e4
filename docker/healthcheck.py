"""Exit 0 when the container is healthy: `tltool serve` answers, or another command runs."""

from __future__ import annotations

import http.client
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

_DEFAULT_PORT = "8501"
_PLATFORM_PORTS = ("AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT")  # of Vertex AI and SageMaker
_SECONDS = 5.0


def served_address(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the port or the path of the socket that ``command`` serves on.

    None when it is not ``tltool serve``.
    """
    names = [Path(argument).name for argument in command]
    if ("tltool", "serve") not in pairwise(names):
        return None
    split = [part for argument in command for part in argument.split("=", maxsplit=1)]
    options = dict(pairwise(split))
    port = next((environ[name] for name in _PLATFORM_PORTS if environ.get(name)), _DEFAULT_PORT)
    return options.get("--unix-socket") or options.get("--port") or port


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection through a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def main(process: Path) -> int:
    """Check the process whose ``/proc/…/cmdline`` is ``process``; return the exit code."""
    command = process.read_text("utf-8", "replace").split("\0")
    address = served_address(command, os.environ)
    if address is None:
        return 0
    try:
        if address.isdigit():
            connection = http.client.HTTPConnection("127.0.0.1", int(address), timeout=_SECONDS)
        else:
            connection = _UnixConnection(address)
        connection.request("GET", "/v1/models")
        status = connection.getresponse().status
        connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"no answer at {address}: {error}\n")
        return 1
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "/proc/1/cmdline")))
