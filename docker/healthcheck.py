"""Exit 0 when the container is healthy: `tltool serve` answers, or another command runs."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_DEFAULT_PORT = "8501"
_SECONDS = 5.0


def served_port(command: Sequence[str]) -> str | None:
    """Return the port that ``command`` serves on, None when it is not ``tltool serve``."""
    names = [Path(argument).name for argument in command]
    if ("tltool", "serve") not in pairwise(names):
        return None
    split = [part for argument in command for part in argument.split("=", maxsplit=1)]
    return dict(pairwise(split)).get("--port", _DEFAULT_PORT)


def main(process: Path) -> int:
    """Check the process whose ``/proc/…/cmdline`` is ``process``; return the exit code."""
    port = served_port(process.read_text("utf-8", "replace").split("\0"))
    if port is None:
        return 0
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=_SECONDS):
            return 0
    except (OSError, ValueError) as error:
        sys.stderr.write(f"no answer on port {port}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "/proc/1/cmdline")))
