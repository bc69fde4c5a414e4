"""Pooled features of photos by a pretrained backbone, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tltool.data.catalog import Catalog
from tltool.data.decode import DecodeSpec, Resize
from tltool.data.sources.store import cache_folder
from tltool.events import Observer
from tltool.features.extract import Extractor
from tltool.features.views import PhotoSource
from tltool.models.backbones import Backbone
from tltool.models.build import build_model
from tltool.models.network import Network
from tltool.training.precision import choose_precision
from tltool.weights.sources import obtain

_BATCH = 32


@dataclass(frozen=True)
class Pooled:
    """Features of every photo of a catalog.

    Attributes:
        features: float32 [N, D].
        seconds_per_image: of one forward pass in a batch, here and now, float; reading left out.
    """

    features: np.ndarray
    seconds_per_image: float


def pooled_features(
    catalog: Catalog,
    backbone: Backbone,
    *,
    image_size: int | None,
    resize: Resize,
    random_weights: bool = False,
    offline: bool,
    observer: Observer,
) -> Pooled:
    """Return features of all photos as they are; those of an earlier call are found again.

    Args:
        catalog: audited photos.
        backbone: registry entry.
        image_size: side in pixels; None means the backbone's own.
        resize: how photos become squares.
        random_weights: instead of the pretrained ones.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        EnvironmentProblem: the weights cannot be had, or there is no room for the features.
    """
    weights = None if random_weights else obtain(backbone.name, offline=offline, observer=observer)
    side = image_size or backbone.image_size
    gpu = bool(tf.config.list_logical_devices("GPU"))
    precision = choose_precision("auto", gpu=gpu)
    with precision.building():
        model = build_model(
            backbone,
            image_size=(side, side),
            classes=max(2, len(catalog.class_names)),
            head="gap",
            dropout=0.0,
            hidden_units=1,
            norm="none",
            weights=weights.path if weights else None,
            seed=0,
        )
    network = Network(model, backbone, "gap")
    decode = DecodeSpec(side, side, resize)
    labels, classes = catalog.labels(), len(catalog.class_names)
    source = PhotoSource(catalog.items, labels, classes, decode, batch_size=_BATCH)
    extractor = Extractor(network.images, network.pooled, None)
    made_of = [source.digest(), backbone.name, network.digest(head=False), precision.arithmetic]
    name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    with precision.active():
        found = extractor.run(
            lambda start: source.plain(start=start),
            cache_folder() / "features" / name,
            count=len(source),
            classes=classes,
            observer=observer,
        )
        seconds = _seconds_per_image(extractor, side)
    keras.backend.clear_session(free_memory=True)
    return Pooled(found.pooled, seconds)


def _seconds_per_image(extractor: Extractor, side: int, rounds: int = 2) -> float:
    """Return the fastest of some batches, which the rest of the machine disturbed least."""
    batch = tf.zeros((_BATCH, side, side, 3))
    extractor.forward(batch)
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        extractor.forward(batch)[0].numpy()
        spent.append(time.perf_counter() - started)
    return min(spent) / _BATCH
