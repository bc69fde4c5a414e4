"""Fetch a data set of TensorFlow Datasets in a process of its own, which can be given up.

Without a network, its downloads wait for minutes and cannot be interrupted from within.
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
_STALLED_SECONDS = 300.0  # without a new byte, download or written
_POLL_SECONDS = 1.0  # each time, all files that were fetched are counted
# ten tries, as TensorFlow Datasets has it, take 200 s to tell that a connection is refused
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


def fetch_dataset(
    name: str, root: Path, *, observer: Observer, first_byte: float = FIRST_BYTE_SECONDS
) -> None:
    """Download and prepare a data set.

    Args:
        name: its name, or name/config.
        root: folder of all data sets.
        observer: hears the progress.
        first_byte: seconds to wait until anything arrives.

    Raises:
        EnvironmentProblem: nothing arrives, or it ends in an error.
    """
    observer.on_message(f"fetching {name} into {root}")
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, name, str(root)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        heard = Path(said.name)
        try:
            problem = _watch(process, heard, root, name, first_byte, observer)
        finally:
            process.kill()
            process.wait()
        if problem is None and process.returncode != 0:
            problem = _last_line(heard)
    if problem:
        raise EnvironmentProblem(
            f"the data set {name} cannot be fetched ({problem})",
            hint=f"on a machine with a network: tfds build {name}\n"
            f"then copy its folder into {root} here (TFDS_DATA_DIR names another)",
        )


def _watch(
    process: subprocess.Popen[bytes],
    heard: Path,
    root: Path,
    name: str,
    first_byte: float,
    observer: Observer,
) -> str | None:
    """Wait for the process; return why it is given up, None when it has ended by itself."""
    places = (root / "downloads", root / name.partition("/")[0])
    start = size = _size(places)
    since: float | None = None  # the time from which nothing has happened
    while not _ended(process):
        if since is None:  # loading TensorFlow takes seconds and is no waiting for a network
            since = time.monotonic() if heard.stat().st_size else None
            continue
        now = _size(places)
        if now != size:
            size, since = now, time.monotonic()
            megabytes = max(0, size - start) >> 20
            observer.on_progress(megabytes, megabytes, unit="MB")
        patience = first_byte if size == start else _STALLED_SECONDS
        if time.monotonic() - since > patience:
            return f"nothing arrived for {patience:.0f} s"
    return None


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait a moment for the process; return whether it has ended."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_POLL_SECONDS)
    return process.returncode is not None


def _size(places: tuple[Path, ...]) -> int:
    """Return the bytes of all files. They come, get other names and go while they are counted."""
    total = 0
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                if not name.endswith(".lock"):
                    with suppress(OSError):
                        total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
    return total


def _last_line(heard: Path) -> str:
    lines = heard.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if not lines:
        return "it ended without a word"
    reasons = re.findall(r"\[Errno -?\d+\] ([^'\")]+)", lines[-1])  # inside four other errors
    return reasons[-1] if reasons else lines[-1][:300]
