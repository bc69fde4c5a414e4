"""The runs of `cluster.py`: each in processes of its own, with what it printed and logged."""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.cluster_pieces import LOG

STAGE = "block5"
_ATTEMPTS = 3


@dataclass
class Run:
    """What a run printed and logged.

    Attributes:
        facts: as `cluster_job` prints them.
        started: number and time of each piece that a process began.
        pieces: of each that ended: number, process, begin, end, processor seconds, whether it made
            the file.
    """

    facts: dict[str, Any]
    started: list[tuple[int, float]] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return float(self.facts["seconds"])

    @property
    def shards(self) -> list[float]:
        """Seconds of each piece."""
        return [one["ended"] - one["started"] for one in self.pieces]

    @property
    def cpu(self) -> float:
        return statistics.median(one["cpu"] for one in self.pieces)

    def gaps(self) -> list[float]:
        """Return the seconds between two pieces of one worker."""
        gaps = []
        for pid in {one["pid"] for one in self.pieces}:
            own = sorted((p for p in self.pieces if p["pid"] == pid), key=lambda p: p["started"])
            gaps += [later["started"] - sooner["ended"] for sooner, later in pairwise(own)]
        return gaps


def read_log(folder: Path) -> Run:
    """Return the pieces that the log of a run has."""
    run, started = Run({}), {}
    for line in (folder / LOG).read_text().splitlines():
        entry = json.loads(line)
        key = entry["number"], entry["pid"]
        if "started" in entry:
            started[key] = entry["started"]
            run.started.append((entry["number"], entry["started"]))
        else:
            run.pieces.append({**entry, "started": started[key]})
    return run


def do_job(setup: Path, folder: Path, workers: str, ending: str = "whole") -> Run:
    """Run a job in a process of its own; on a busy machine Ray may need several attempts."""
    command = [sys.executable, "-m", "benchmarks.cluster_job", setup, folder, workers, ending]
    expected = -signal.SIGKILL if ending == "lose-driver" else 0
    log = folder / LOG
    before = log.stat().st_size if log.exists() else 0
    for _ in range(_ATTEMPTS):
        done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == expected:
            run = read_log(folder)
            run.facts = json.loads(done.stdout.splitlines()[-1]) if not expected else {}
            return run
        if log.exists() and log.stat().st_size != before:
            break  # it failed later than at its start
    raise SystemExit(f"the run with workers {workers} ended with {done.returncode}")


def prepared(folder: Path, options: argparse.Namespace) -> Path:
    """Write the network and what all jobs share; return the file."""
    from benchmarks.pieces import network
    from tltool.features.extract import Extractor

    net = network("vgg16", side=options.side)
    saved = Extractor(net.images, net.pooled, net.cut(STAGE)).save(folder)
    paths = [str(path) for path in photos(folder, options)]
    size = statistics.mean(Path(path).stat().st_size for path in paths)
    setup = {
        "network": str(saved), "paths": paths, "side": options.side, "images": options.images,
        "shards": options.shards, "arithmetic": options.arithmetic, "shard_seconds": 1.0,
        "bytes_in": size,
    }  # fmt: skip
    file = folder / "setup.json"
    file.write_text(json.dumps(setup))
    return file


def photos(folder: Path, options: argparse.Namespace) -> Sequence[Path]:
    data = Path(os.environ.get("TLTOOL_TEST_DATA", ""), "hymenoptera", "train")
    if data.is_dir():
        return sorted(data.rglob("*.jpg"))
    import numpy as np
    from PIL import Image

    rng, made = np.random.default_rng(0), []
    for number in range(64):
        small = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        made.append(folder / f"{number}.jpg")
        Image.fromarray(small).resize((500, 375)).save(made[-1], quality=90)
    return made


def repetition(setup: Path, folder: Path) -> dict[str, Run]:
    """Return the runs of one repetition by name."""
    runs = {"none": do_job(setup, folder / "none", "none")}
    document = json.loads(setup.read_text())
    document["shard_seconds"] = statistics.median(runs["none"].shards)
    setup.write_text(json.dumps(document))
    runs["one"] = do_job(setup, folder / "one", "1")
    runs["two"] = do_job(setup, folder / "two", "2")
    runs["killed"] = do_job(setup, folder / "killed", "2", "lose-worker")
    runs["stopped"] = do_job(setup, folder / "resumed", "2", "lose-driver")
    runs["resumed"] = do_job(setup, folder / "resumed", "2")
    shutil.rmtree(folder)
    return runs
