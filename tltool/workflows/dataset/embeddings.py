"""Embeddings of images: the pooled features of a pretrained backbone, cached on disk."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec
from tltool.data.catalog import Catalog
from tltool.data.decoding.decode_spec import DecodeSpec, Resize
from tltool.data.sources.source_cache import cache_folder
from tltool.events import Observer
from tltool.features.extract import Extractor
from tltool.features.image_source import ImageSource
from tltool.models.backbone_registry import Backbone
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.training.precision import choose_precision
from tltool.weights.fetch_weights import obtain

_BATCH = 32


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of the images of a catalog.

    Attributes:
        features: float32 [N, D].
        seconds_per_image: measured time of a forward pass in a batch, without image loading.
    """

    features: np.ndarray
    seconds_per_image: float


class EmbeddingExtractor:
    """A pretrained backbone that computes embeddings, and caches them in the user's cache folder.

    Args:
        backbone: registry entry.
        image_size: side in pixels; None means the backbone's own.
        resize: how images are made square.
        weights: a file of pretrained weights; None for random ones.
        observer: receives the progress.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int | None,
        resize: Resize,
        weights: Path | None,
        observer: Observer,
    ) -> None:
        self._side = image_size or backbone.image_size
        self._resize, self._observer = resize, observer
        gpu = bool(tf.config.list_logical_devices("GPU"))
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
        self._extractor = Extractor(network.images, network.pooled, None)
        self._cache_key = [backbone.name, network.digest(head=False), self._precision.arithmetic]

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
        augmentation = [] if spec is None else [asdict(spec), seed]
        cache_key = [source.digest(), *self._cache_key, *augmentation]
        name = hashlib.sha256(json.dumps(cache_key).encode()).hexdigest()[:16]

        def batches_from(start: int) -> tf.data.Dataset:
            if spec is None:
                return source.original(start=start)
            return source.augmented(spec, seed=seed, epoch=1, start=start)

        with self._precision.active():
            features = self._extractor.run(
                batches_from,
                cache_folder() / "features" / name,
                count=len(source),
                classes=source.classes,
                observer=self._observer,
            )
        in_order = np.empty_like(features.pooled)
        in_order[features.index] = features.pooled
        return in_order

    def seconds_per_image(self, rounds: int = 2) -> float:
        """Return the time of the fastest of some batches, the one least disturbed by other load."""
        batch = tf.zeros((_BATCH, self._side, self._side, 3))
        with self._precision.active():
            self._extractor.forward(batch)
            spent = []
            for _ in range(rounds):
                started = time.perf_counter()
                self._extractor.forward(batch)[0].numpy()
                spent.append(time.perf_counter() - started)
        return min(spent) / _BATCH


def extract_embeddings(
    catalog: Catalog,
    backbone: Backbone,
    *,
    image_size: int | None,
    resize: Resize,
    random_weights: bool = False,
    offline: bool,
    observer: Observer,
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

    Raises:
        EnvironmentProblem: the weights are not available, or the disk is full.
    """
    weights = None if random_weights else obtain(backbone.name, offline=offline, observer=observer)
    extractor = EmbeddingExtractor(
        backbone,
        image_size=image_size,
        resize=resize,
        weights=weights.path if weights else None,
        observer=observer,
    )
    features = extractor.features(extractor.source(catalog))
    seconds = extractor.seconds_per_image()
    keras.backend.clear_session(free_memory=True)
    return Embeddings(features, seconds)
