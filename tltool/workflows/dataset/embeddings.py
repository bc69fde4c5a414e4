"""Pooled features of images by a pretrained backbone, kept in the user's cache."""

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
    """Features of every image of a catalog.

    Attributes:
        features: float32 [N, D].
        seconds_per_image: of one forward pass in a batch, here and now, float; reading left out.
    """

    features: np.ndarray
    seconds_per_image: float


class EmbeddingExtractor:
    """A pretrained backbone that gives pooled features, and keeps them in the user's cache.

    Args:
        backbone: registry entry.
        image_size: side in pixels; None means the backbone's own.
        resize: how images become squares.
        weights: a file of pretrained weights, or None for random ones.
        observer: told about the progress.
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
        self._made_of = [backbone.name, network.digest(head=False), self._precision.arithmetic]

    def source(self, catalog: Catalog) -> ImageSource:
        """Return images as this backbone wants them."""
        decode = DecodeSpec(self._side, self._side, self._resize)
        labels, classes = catalog.labels(), len(catalog.class_names)
        return ImageSource(catalog.items, labels, classes, decode, batch_size=_BATCH)

    def features(
        self, source: ImageSource, spec: AugmentSpec | None = None, *, seed: int = 0
    ) -> np.ndarray:
        """Return features of all images, in their order; those of an earlier call are found again.

        Args:
            source: the images.
            spec: how they are changed first, as in epoch 1; None leaves them as they are.
            seed: of the changes.

        Returns:
            float32 [N, D].
        """
        changed = [] if spec is None else [asdict(spec), seed]
        made_of = [source.digest(), *self._made_of, *changed]
        name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]

        def batches_from(start: int) -> tf.data.Dataset:
            if spec is None:
                return source.original(start=start)
            return source.augmented(spec, seed=seed, epoch=1, start=start)

        with self._precision.active():
            found = self._extractor.run(
                batches_from,
                cache_folder() / "features" / name,
                count=len(source),
                classes=source.classes,
                observer=self._observer,
            )
        in_order = np.empty_like(found.pooled)
        in_order[found.index] = found.pooled
        return in_order

    def seconds_per_image(self, rounds: int = 2) -> float:
        """Return the fastest of some batches, which the rest of the machine disturbed least."""
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
    """Return features of all images as they are; those of an earlier call are found again.

    Args:
        catalog: audited images.
        backbone: registry entry.
        image_size: side in pixels; None means the backbone's own.
        resize: how images become squares.
        random_weights: instead of the pretrained ones.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        EnvironmentProblem: the weights cannot be had, or there is no room for the features.
    """
    weights = None if random_weights else obtain(backbone.name, offline=offline, observer=observer)
    pooler = EmbeddingExtractor(
        backbone,
        image_size=image_size,
        resize=resize,
        weights=weights.path if weights else None,
        observer=observer,
    )
    found = pooler.features(pooler.source(catalog))
    seconds = pooler.seconds_per_image()
    keras.backend.clear_session(free_memory=True)
    return Embeddings(found, seconds)
