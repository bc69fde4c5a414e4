"""Features from the frozen part of the network, kept under a key of all that decides them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tltool.augment.spec import AugmentSpec
from tltool.data.step_trace import StepTrace
from tltool.features.extract import Extractor, Features
from tltool.features.feature_store import FeatureStore
from tltool.features.image_source import ImageSource
from tltool.features.shards import ShardPlan
from tltool.features.shared_pass import SharedPass, View, append_shards
from tltool.runs.lock import waiting_lock
from tltool.storage.durable import write_durably
from tltool.training.probe import Probe
from tltool.workflows.dataset.feature_shards import SHARDS, compute_shards, worker_settings
from tltool.workflows.training_run.context import RunContext

_PIXELS, _MOST_BATCHES = 224 * 224, 8  # of an image, and training batches that are read at once


@dataclass(frozen=True)
class FeatureCache:
    """Computes features, or finds them: after a crash, or where another run has computed them.

    Attributes:
        run: the run.
        augment: changes of the augmented views.
        network_key: head, cut and digest of the backbone: which network ran up to where.
        folder: where features are kept, a folder per pass.
        trace: of all passes that were computed.
    """

    run: RunContext
    augment: AugmentSpec
    network_key: tuple[str, ...]
    folder: Path
    trace: StepTrace = field(default_factory=StepTrace)

    def original(self, extractor: Extractor, source: ImageSource) -> Features:
        """Return the features of the images without augmentation.

        Small images are read in larger batches, which use the processor better. The batch decides
        at most the order of sums: VGG16's features in bfloat16 are bit-identical in all batches.
        """
        pixels = source.decode.height * source.decode.width
        many = max(1, min(_MOST_BATCHES, _PIXELS // pixels))
        source = replace(source, batch_size=many * source.batch_size)
        return self._extract(extractor, source, View())

    def augmented(self, extractor: Extractor, source: ImageSource, *, view: int) -> Features:
        """Return the features of augmented view number ``view``."""
        return self._extract(extractor, source, View(self.augment, self.run.recipe.seed, view))

    def probe(self, *key: object, solve: Callable[[], Probe]) -> Probe:
        """Return the probe that ``solve`` fits, or that was fitted before.

        Args:
            key: everything that decides the solution, beside weights and arithmetic.
            solve: fits the probe.
        """
        arithmetic = self.run.machine.precision.arithmetic
        path = self.folder / f"probe-{_file_name([*key, self.network_key, arithmetic])}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                numbers = (float(file[name]) for name in ("strength", "accuracy", "loss"))
                return Probe(file["kernel"], file["bias"], *numbers)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            probe = solve()
        memory = io.BytesIO()
        np.savez(memory, allow_pickle=False, **asdict(probe))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, memory.getvalue())
        return probe

    def _extract(self, extractor: Extractor, source: ImageSource, view: View) -> Features:
        precision = self.run.machine.precision
        key = [
            source.digest(),
            view.key(),
            self.network_key,
            precision.arithmetic,
            extractor.pooled_shape,
            extractor.cut_shape,
        ]
        folder = self.folder / _file_name(key)
        with self._alone(folder), precision.active():
            features = extractor.run(
                lambda start: self.trace.over(view.batches(source, start)),
                folder,
                count=len(source),
                classes=source.classes,
                observer=self.run.observer,
                computing=precision.active,
                elsewhere=partial(self._by_workers, extractor, source, view, folder / SHARDS),
            )
        if self.trace.works:
            share = round(self.trace.share, 4)
            self.run.record(replace(self.run.manifest, data_wait={"features": share}))
        return features

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[None]:
        """Wait until no other run writes into the folder of a pass that several runs share."""
        if self.run.options.feature_cache is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        with waiting_lock(folder):
            yield

    def _by_workers(
        self,
        extractor: Extractor,
        source: ImageSource,
        view: View,
        folder: Path,
        store: FeatureStore,
    ) -> None:
        """Let the workers of the run, if it has any, compute the rows that are missing."""
        engine, plan = self.run.engine, ShardPlan(len(source), source.batch_size)
        if engine is not None and view.augment and view.augment.own:
            self.run.observer.on_message("augmentation of your own is computed in this process")
            engine = None
        if engine is None:
            append_shards(store, folder, plan)  # of an earlier process with workers
        else:
            machine = self.run.machine
            settings = worker_settings(
                gpu=machine.gpu,
                deterministic=self.run.recipe.train.deterministic,
                precision=machine.precision,
            )
            network = extractor.save(self.folder)
            shared = SharedPass(source, view, network, settings)
            compute_shards(engine, shared, folder, store, self.run.observer)
        shutil.rmtree(folder, ignore_errors=True)


def _file_name(key: list[Any]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
