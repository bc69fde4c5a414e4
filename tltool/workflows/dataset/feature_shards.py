"""Features that workers compute: what the command gives them, and what each of them does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tltool.engine.work import Engine, Piece, Record, Work
from tltool.errors import EnvironmentProblem, reading
from tltool.events import Observer
from tltool.features.extract import Extractor
from tltool.features.feature_store import FeatureStore
from tltool.features.out_of_memory import MicroBatches, current_micro_batches, micro_batches
from tltool.features.shards import commit
from tltool.features.shared_pass import SharedPass, gather_shards, read_pass
from tltool.training.devices import choose_devices
from tltool.training.own_settings import own_settings
from tltool.training.precision import Precision, choose_precision

WORK = "features"
SHARDS = "shards"  # in the folder of a pass


def worker_settings(*, gpu: bool, deterministic: bool, precision: Precision) -> dict[str, Any]:
    """Return how a worker must compute to get the bits of this process, JSON-ready.

    Args:
        gpu: whether this process computes on a GPU.
        deterministic: whether its operations are deterministic.
        precision: its arithmetic.
    """
    return {
        "gpu": gpu,
        "deterministic": deterministic,
        "arithmetic": precision.arithmetic,
        "rows_at_once": current_micro_batches().rows,
    }


def compute_shards(
    engine: Engine, shared: SharedPass, folder: Path, store: FeatureStore, observer: Observer
) -> None:
    """Fill a store with the features of a pass that the workers of ``engine`` compute.

    Args:
        engine: has the workers.
        shared: the pass.
        folder: for the shards and for what the workers read.
        store: of the pass.
        observer: receives the progress.

    Raises:
        TltoolError: a worker cannot do its part, or the disk is full.
    """
    plan = shared.plan
    if plan.shards < engine.workers:
        observer.on_message(
            f"{engine.workers} workers, but these images make only {plan.shards} "
            f"piece{'s' * (plan.shards != 1)} of work: the other workers wait",
            level="warning",
        )
    shared.write(folder)
    work = Work(WORK, {"folder": str(folder.absolute())}, title="shard of features")

    def compute(numbers: list[int]) -> Iterator[int]:
        for number, _ in engine.map(work, numbers):
            yield number

    def progress(rows: int) -> None:
        observer.on_progress(rows, store.count)

    gather_shards(store, folder, plan, compute=compute, progress=progress)


def begin_features(arguments: Mapping[str, Any]) -> Piece:
    """Return the function of a worker that computes and commits a shard of features.

    Args:
        arguments: ``folder`` that ``compute_shards`` has filled.

    Raises:
        EnvironmentProblem: the worker cannot read what it needs.
    """
    folder = Path(arguments["folder"])
    shared = read_pass(folder)
    settings = shared.settings
    with own_settings():
        choose_devices("gpu" if settings["gpu"] else "cpu")
        if settings["deterministic"]:
            keras.utils.set_random_seed(0)  # else TensorFlow refuses operations that draw numbers
            tf.config.experimental.enable_op_determinism()
        extractor = _extractor(shared.network)
    precision = choose_precision(settings["arithmetic"], gpu=settings["gpu"])

    def piece(number: int, _: None) -> Record:
        rows = MicroBatches(dict(settings["rows_at_once"]))
        with own_settings(), precision.active(), micro_batches(rows):
            columns = shared.shard(number, extractor.rows)
        made = commit(folder, shared.plan.name(number), columns)
        return {"rows": len(columns["index"]), "made": made}

    return piece


@lru_cache(maxsize=1)  # passes of one run share it
def _extractor(path: Path) -> Extractor:
    with reading(path, "network of the run", error=EnvironmentProblem):
        return Extractor.from_file(path)
