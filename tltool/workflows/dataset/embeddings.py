"""Embeddings of images: the pooled features of a pretrained backbone, cached on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.catalog import Catalog
from tltool.data.decoding.decode_spec import DecodeSpec, Resize
from tltool.data.sources.source_cache import cache_folder
from tltool.engine.work import Engine
from tltool.events import Observer
from tltool.features.extract import Extractor
from tltool.features.feature_store import FeatureStore
from tltool.features.image_source import ImageSource
from tltool.features.shards import ShardPlan
from tltool.features.shared_pass import SharedPass, View, append_shards
from tltool.models.backbone_registry import Backbone
from tltool.models.batch_norm_folding import folding_version
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.runs.environment import cores
from tltool.runs.lock import waiting_lock
from tltool.training.precision import choose_precision
from tltool.training.precision_choice import measured_precision
from tltool.weights.fetch_weights import obtain
from tltool.workflows.dataset.feature_shards import SHARDS, compute_shards, worker_settings

_BATCH = 32
_TIMED = 8  # images of a batch whose time is taken, on a CPU


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of the images of a catalog.

    Attributes:
        features: float32 [N, D].
        seconds_per_image: time of a forward pass, ``ForwardTime.seconds``.
    """

    features: np.ndarray
    seconds_per_image: float


class ForwardTime(NamedTuple):
    """Time of a forward pass of one image in a batch, without image loading.

    Attributes:
        seconds: on a CPU processor time over the number of cores, which other programs hardly
            change; on a GPU wall time.
        wall: wall time, as long as the machine is as busy as it was.
    """

    seconds: float
    wall: float


class EmbeddingExtractor:
    """A pretrained backbone that computes embeddings, and caches them in the user's cache folder.

    Args:
        backbone: registry entry.
        image_size: side in pixels; None means the backbone's own.
        resize: how images are made square.
        weights: a file of pretrained weights; None for random ones.
        observer: receives the progress.
        engine: has the workers that compute the embeddings; None to compute them here.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int | None,
        resize: Resize,
        weights: Path | None,
        observer: Observer,
        engine: Engine | None = None,
    ) -> None:
        self._side = image_size or backbone.image_size
        self._resize, self._observer, self._engine = resize, observer, engine
        self._gpu = gpu = bool(tf.config.list_logical_devices("GPU"))
        self._precision = choose_precision("auto", gpu=gpu)
        with self._precision.building():
            model = build_model(
                backbone,
                image_size=(self._side, self._side),
                classes=2,
                head="gap",
                dropout=0.0,
                hidden_units=1,
                norm="none",
                weights=weights,
                seed=0,
            )
        network = Network(model, backbone, "gap")
        if not gpu:
            self._precision = measured_precision(network)
        self._extractor = Extractor(network.images, network.pooled, None)
        self._cache_key = [
            backbone.identity,
            network.digest(head=False),
            self._precision.arithmetic,
            *folding_version(model),
        ]

    def source(self, catalog: Catalog) -> ImageSource:
        """Return images as the input of this backbone."""
        decode = DecodeSpec(self._side, self._side, self._resize)
        labels, classes = catalog.labels(), len(catalog.class_names)
        return ImageSource(catalog.items, labels, classes, decode, batch_size=_BATCH)

    def features(
        self, source: ImageSource, spec: AugmentSpec | None = None, *, seed: int = 0
    ) -> np.ndarray:
        """Return the embeddings of all images, in their order, from the cache if possible.

        Args:
            source: the images.
            spec: augmentation, as in epoch 1; None for the original images.
            seed: of the augmentation.

        Returns:
            float32 [N, D].
        """
        augmentation = [] if spec is None else [spec.to_json(), seed]
        cache_key = [source.digest(), *self._cache_key, *augmentation]
        name = hashlib.sha256(json.dumps(cache_key).encode()).hexdigest()[:16]
        view = View() if spec is None else View(spec, seed, 1)
        folder = cache_folder() / "features" / name
        folder.mkdir(parents=True, exist_ok=True)
        with waiting_lock(folder), self._precision.active():  # other commands have the same cache
            features = self._extractor.run(
                partial(view.batches, source),
                folder,
                count=len(source),
                classes=source.classes,
                observer=self._observer,
                computing=self._precision.active,
                elsewhere=partial(self._by_workers, source, view, folder / SHARDS),
            )
        in_order = np.empty_like(features.pooled)
        in_order[features.index] = features.pooled
        return in_order

    def _by_workers(
        self, source: ImageSource, view: View, folder: Path, store: FeatureStore
    ) -> None:
        """Let the workers, if there are any, compute the rows that are missing."""
        if self._engine is None:
            append_shards(store, folder, ShardPlan(len(source), source.batch_size))
        else:
            settings = worker_settings(
                gpu=self._gpu, deterministic=False, precision=self._precision
            )
            shared = SharedPass(source, view, self._extractor.save(folder), settings)
            compute_shards(self._engine, shared, folder, store, self._observer)
        shutil.rmtree(folder, ignore_errors=True)

    def forward_time(self, rounds: int = 3) -> ForwardTime:
        """Return the time of the fastest of some batches, the one least disturbed by other load."""
        gpu = bool(tf.config.list_logical_devices("GPU"))
        images = _BATCH if gpu else _TIMED
        batch = tf.zeros((images, self._side, self._side, 3))
        with self._precision.active():
            self._extractor.forward(batch)
            spent = []
            for _ in range(rounds):
                wall, processor = time.perf_counter(), time.process_time()
                self._extractor.forward(batch)[0].numpy()
                now = time.perf_counter() - wall
                spent.append((now if gpu else (time.process_time() - processor) / cores(), now))
        idle, busy = (min(times) / images for times in zip(*spent, strict=True))
        return ForwardTime(idle, busy)


def forward_time(backbone: Backbone, image_size: int, *, observer: Observer) -> ForwardTime:
    """Return the time of a forward pass of one image in a batch; no weights are needed.

    Args:
        backbone: registry entry.
        image_size: side in pixels.
        observer: receives the progress.
    """
    extractor = EmbeddingExtractor(
        backbone, image_size=image_size, resize="crop", weights=None, observer=observer
    )
    measured = extractor.forward_time()
    keras.backend.clear_session(free_memory=True)
    return measured


def pretrained_file(backbone: Backbone, *, offline: bool, observer: Observer) -> Path:
    """Return the file of a backbone's pretrained weights; that of a model file is itself.

    Raises:
        EnvironmentProblem: the weights are not available.
    """
    if backbone.file:
        return backbone.file.path
    return obtain(backbone.name, offline=offline, observer=observer).path


def extract_embeddings(
    catalog: Catalog,
    backbone: Backbone,
    *,
    image_size: int | None,
    resize: Resize,
    random_weights: bool = False,
    offline: bool,
    observer: Observer,
    engine: Engine | None = None,
) -> Embeddings:
    """Return the embeddings of all images, from the cache if possible.

    Args:
        catalog: audited images.
        backbone: registry entry.
        image_size: side in pixels; None means the backbone's own.
        resize: how images are made square.
        random_weights: instead of pretrained ones.
        offline: open no network connection.
        observer: receives the progress.
        engine: has the workers that compute the embeddings; None to compute them here.

    Raises:
        EnvironmentProblem: the weights are not available, or the disk is full.
    """
    weights = None
    if not random_weights:
        weights = pretrained_file(backbone, offline=offline, observer=observer)
    extractor = EmbeddingExtractor(
        backbone,
        image_size=image_size,
        resize=resize,
        weights=weights,
        observer=observer,
        engine=engine,
    )
    features = extractor.features(extractor.source(catalog))
    seconds = extractor.forward_time().seconds
    keras.backend.clear_session(free_memory=True)
    return Embeddings(features, seconds)
