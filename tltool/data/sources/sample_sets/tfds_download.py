"""Downloads a data set of TensorFlow Datasets in a subprocess, with a timeout.

Without a network, its downloads block for minutes and cannot be interrupted in the same process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tltool.errors import EnvironmentProblem
from tltool.events import Observer

FIRST_BYTE_SECONDS = 30.0
_STALLED_SECONDS = 300.0  # without a new byte
_POLL_SECONDS = 1.0  # each poll counts the bytes of all downloaded files
# with its default of ten retries, TensorFlow Datasets takes 200 s to report a refused connection
_PROGRAM = """
import sys
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader
downloader.MAX_RETRIES = 4
tfds.disable_progress_bar()
builder = tfds.builder(sys.argv[1], data_dir=sys.argv[2])
print("ready", flush=True)
builder.download_and_prepare()
"""


def download_dataset(
    name: str, root: Path, *, observer: Observer, first_byte: float = FIRST_BYTE_SECONDS
) -> None:
    """Download and prepare a data set.

    Args:
        name: its name, or name/config.
        root: folder of all data sets.
        observer: receives the progress.
        first_byte: seconds to wait for the first byte.

    Raises:
        EnvironmentProblem: the download times out or fails.
    """
    observer.on_message(f"downloading {name} to {root}")
    with tempfile.NamedTemporaryFile() as log_file:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, name, str(root)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        log = Path(log_file.name)
        try:
            problem = _watch(process, log, root, name, first_byte, observer)
        finally:
            process.kill()
            process.wait()
        if problem is None and process.returncode != 0:
            problem = _last_line(log)
    if problem:
        raise EnvironmentProblem(
            f"the data set {name} cannot be downloaded ({problem})",
            hint=f"on a machine with a network: tfds build {name}\n"
            f"then copy its folder to {root} here (or set TFDS_DATA_DIR to another folder)",
        )


def _watch(
    process: subprocess.Popen[bytes],
    log: Path,
    root: Path,
    name: str,
    first_byte: float,
    observer: Observer,
) -> str | None:
    """Wait for the process; return the reason of a timeout, None if it has ended."""
    places = (root / "downloads", root / name.partition("/")[0])
    start = size = _size(places)
    since: float | None = None  # the time of the last progress
    while not _ended(process):
        if since is None:  # the time to load TensorFlow does not count
            since = time.monotonic() if log.stat().st_size else None
            continue
        now = _size(places)
        if now != size:
            size, since = now, time.monotonic()
            megabytes = max(0, size - start) >> 20
            observer.on_progress(megabytes, megabytes, unit="MB")
        timeout = first_byte if size == start else _STALLED_SECONDS
        if time.monotonic() - since > timeout:
            return f"no data received for {timeout:.0f} s"
    return None


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait up to ``_POLL_SECONDS`` for the process; return whether it has ended."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_POLL_SECONDS)
    return process.returncode is not None


def _size(places: tuple[Path, ...]) -> int:
    """Return the size of all files in bytes; files may be renamed or deleted meanwhile."""
    total = 0
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                if not name.endswith(".lock"):
                    with suppress(OSError):
                        total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
    return total


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if not lines:
        return "the download process ended without a message"
    reasons = re.findall(r"\[Errno -?\d+\] ([^'\")]+)", lines[-1])  # nested in four other errors
    return reasons[-1] if reasons else lines[-1][:300]
