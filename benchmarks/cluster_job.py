"""One extraction of features for `cluster.py`, in a process of its own; prints a JSON document.

python -m benchmarks.cluster_job SETUP FOLDER {none,1,2} {whole,lose-worker,lose-driver}
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import psutil

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.item import Item
from tltool.engine.cluster_address import ClusterAddress
from tltool.engine.signature import signature, thread_flags
from tltool.engine.work import Engine, Record, Work, raise_error
from tltool.engine.worker import do_piece
from tltool.events import SilentObserver
from tltool.features.extract import Extractor, Features
from tltool.features.image_source import ImageSource
from tltool.features.shared_pass import SharedPass, View
from tltool.workflows.dataset.feature_shards import SHARDS, compute_shards

TABLE = "benchmarks.cluster_pieces"
QUIET = SilentObserver()


@dataclass
class HereEngine:
    """Does the pieces in this process, without Ray, with one thread."""

    workers: int = 1

    def map(self, work: Work, numbers: Iterable[int]) -> Iterator[tuple[int, Record]]:
        expected, flags = signature(), thread_flags()
        for number in numbers:
            arguments, own = dict(work.arguments), work.input_of(number)
            record = do_piece(TABLE, work.name, arguments, number, own, expected, 1, flags)
            raise_error(record)
            yield number, record


@dataclass
class Watched:
    """An engine of which one process is ended in the middle of a shard.

    Attributes:
        engine: does the pieces.
        lose: worker, driver, or nothing.
        after: records, before the process is ended.
        wait: seconds from the last of them on.
        lost_at: when it happened.
    """

    engine: Engine
    lose: str
    after: int
    wait: float
    lost_at: float | None = None

    @property
    def workers(self) -> int:
        return self.engine.workers

    def map(self, work: Work, numbers: Iterable[int]) -> Iterator[tuple[int, Record]]:
        for done, (number, record) in enumerate(self.engine.map(work, numbers), start=1):
            yield number, record
            if done == self.after and self.lose != "nothing":
                pid = os.getpid() if self.lose == "driver" else record["pid"]
                threading.Timer(self.wait, self._end, [pid]).start()

    def _end(self, pid: int) -> None:
        self.lost_at = time.time()
        os.kill(pid, signal.SIGKILL)


@contextmanager
def opened(workers: str) -> Iterator[tuple[Engine, dict[str, Any]]]:
    """Give the engine, and what its start took."""
    if workers == "none":
        yield HereEngine(), {"engine_seconds": 0.0, "rest_mib": 0.0}
        return
    from tltool.engine.ray_engine import open_ray

    started = time.monotonic()
    with open_ray(ClusterAddress(int(workers)), TABLE, gpu=False) as engine:
        facts = {"engine_seconds": time.monotonic() - started, "rest_mib": memory_of_children()}
        yield replace(engine, threads=1), facts


def memory_of_children() -> float:
    """Return the memory of all child processes that no other process shares, MiB."""
    total = 0
    for child in psutil.Process().children(recursive=True):
        total += child.memory_full_info().uss
    return total / 2**20


def read_source(setup: dict[str, Any], batch_size: int, count: int) -> ImageSource:
    """Return ``count`` of the images, in batches that are shards."""
    paths = setup["paths"]
    items = [Item(Path(paths[number % len(paths)]), "") for number in range(count)]
    labels = np.arange(count) % 2
    side = setup["side"]
    return ImageSource(items, labels, 2, DecodeSpec(side, side, "crop"), batch_size)


def shared_pass(setup: dict[str, Any], source: ImageSource) -> SharedPass:
    settings = {
        "gpu": False, "deterministic": True, "arithmetic": setup["arithmetic"], "rows_at_once": {},
    }  # fmt: skip
    return SharedPass(source, View(), Path(setup["network"]), settings)


def warm_up(engine: Engine, setup: dict[str, Any], folder: Path) -> float:
    """Let every worker load TensorFlow and the network; return the seconds until all are ready."""
    started = time.monotonic()
    place = folder / "warm" / SHARDS
    workers = engine.workers
    shared_pass(setup, read_source(setup, 1, 64 * workers)).write(place)
    for file in folder.glob("ready-*"):
        file.unlink()
    work = Work("warm", {"folder": str(place), "workers": workers})
    for _ in engine.map(work, range(workers)):
        pass
    return time.monotonic() - started


def digest_of(features: Features, count: int) -> str:
    """Return the SHA-256 of all bytes of the features."""
    digest = hashlib.sha256()
    for values in (features.index, features.labels, features.pooled):
        digest.update(np.ascontiguousarray(values).tobytes())
    for start in range(0, count, 32):
        digest.update(features.activations.read(start, min(start + 32, count)).tobytes())
    return digest.hexdigest()[:16]


def main(setup_file: str, place: str, workers: str, ending: str) -> None:
    setup, folder = json.loads(Path(setup_file).read_text()), Path(place).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    batch, shards = setup["images"], setup["shards"]
    source = read_source(setup, batch, batch * shards)
    shared = shared_pass(setup, source)
    facts: dict[str, Any] = {"workers": workers}
    with opened(workers) as (engine, started):
        facts |= started
        facts["ready_seconds"] = warm_up(engine, setup, folder)
        lose = ending.removeprefix("lose-") if ending != "whole" else "nothing"
        watched = Watched(engine, lose, max(1, shards // 3), setup["shard_seconds"] / 2)

        def elsewhere(store: Any) -> None:
            started = time.time()
            compute_shards(watched, shared, folder / "pass" / SHARDS, store, QUIET)
            facts.update(started=started, seconds=time.time() - started)

        features = Extractor.from_file(shared.network).run(
            lambda start: source.original(start=start),
            folder / "pass",
            count=len(source),
            classes=2,
            observer=QUIET,
            elsewhere=elsewhere,
        )
        facts |= {"digest": digest_of(features, len(source)), "lost_at": watched.lost_at}
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
