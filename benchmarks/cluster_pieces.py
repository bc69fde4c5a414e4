"""What the workers of `cluster.py` do: pieces of tltool's own work, each with a line in a log.

A worker computes on one processor core, so that two of them on two cores are twice one.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tltool.engine.work import Piece, Record
from tltool.workflows.dataset.feature_shards import begin_features

LOG = "pieces.log"
_WAIT_SECONDS = 300.0


def begin(name: str, arguments: Mapping[str, Any]) -> Piece:
    """Return the function that does the pieces of `features` or `warm` in this process."""
    places = Path(arguments["folder"]).parents[1]
    take_core(places)
    piece = begin_features(arguments)
    return warmed(piece, places, arguments["workers"]) if name == "warm" else logged(piece, places)


def logged(piece: Piece, folder: Path) -> Piece:
    """Return ``piece`` with a line in the log before and after it."""

    def timed(number: int, piece_input: Any) -> Record:
        write_line(folder, number=number, started=time.time())
        cpu = time.process_time()
        record = piece(number, piece_input)
        used = time.process_time() - cpu
        write_line(folder, number=number, ended=time.time(), cpu=used, made=record["made"])
        return {**record, "pid": os.getpid()}

    return timed


def warmed(piece: Piece, folder: Path, workers: int) -> Piece:
    """Return ``piece``, which ends when all workers have done one: each of them is ready then."""

    def waiting(number: int, piece_input: Any) -> Record:
        record = piece(number, piece_input)
        (folder / f"ready-{number}").touch()
        ends = time.monotonic() + _WAIT_SECONDS
        while len(list(folder.glob("ready-*"))) < workers and time.monotonic() < ends:
            time.sleep(0.05)
        return record

    return waiting


def write_line(folder: Path, **facts: Any) -> None:
    """Append a line to the log; lines of several processes do not mix."""
    line = json.dumps({**facts, "pid": os.getpid()}) + "\n"
    with (folder / LOG).open("a") as log:
        log.write(line)


def take_core(folder: Path) -> None:
    """Compute on one core alone: the first that no other living worker of ``folder`` has taken."""
    for core in sorted(os.sched_getaffinity(0)):
        path = folder / f"core-{core}"
        with suppress(FileNotFoundError, ValueError):
            if not is_alive(int(path.read_text())):
                path.unlink(missing_ok=True)
        with suppress(FileExistsError), path.open("x") as taken:
            taken.write(str(os.getpid()))
            for thread in Path("/proc/self/task").iterdir():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), {core})
            return


def is_alive(pid: int) -> bool:
    """Whether a process still computes."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
