"""Do two images show the same thing to a pretrained network?

A copy that was turned by a degree or two shares the low frequencies of its original, but no fine
detail lies where it was. The features of a network do not mind. They are no use for finding
candidates: of images that differ only in what stands in the middle, they think alike.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.decoding.decode import DecodeSpec
from tltool.data.pipeline import fixed_options, image_dataset, image_files
from tltool.events import Observer
from tltool.weights.weights_store import StoredWeights

if TYPE_CHECKING:
    import keras

SAME = 0.975
"""Cosine from which on two images count as one to VGG16: two shots of one scene reach 0.968."""
MOST_IMAGES = 128
"""Images that are looked at in one check, to bound its time: some 0.1 s each on two cores."""

_LAYER = "block4_pool"
_SPEC = DecodeSpec(128, 128, "squash")
_BATCH = 16


class EmbeddingSimilarity:
    """Compares images by features, which are kept in a folder for the next time.

    Args:
        weights: of VGG16, for which ``SAME`` was measured.
        cache: folder of what can be made anew.
        observer: told about the progress.
    """

    def __init__(self, weights: StoredWeights, cache: Path, observer: Observer) -> None:
        self._weights, self._observer = weights, observer
        seen = f"{_LAYER}-{_SPEC.height}x{_SPEC.width}-{_SPEC.resize}"
        self._folder = cache / f"features-{weights.name}-{weights.sha256[:12]}-{seen}"

    def __call__(self, pairs: Sequence[tuple[Item, Item]]) -> list[bool]:
        """Return for each pair whether both show the same; the most likely pairs come first.

        Of more than ``MOST_IMAGES`` images, the last pairs are not looked at.
        """
        items = {item.sha256: item for pair in pairs for item in pair}
        chosen = list(items.values())[:MOST_IMAGES]
        self._observer.on_phase("features", f"{self._weights.name}, {len(chosen)} images")
        if len(items) > len(chosen):
            told = f"{len(chosen)} of {len(items):,} images that may be copies"
            self._observer.on_message(f"{self._weights.name} compares {told}")
        found = self._features(chosen)
        return [
            first.sha256 in found
            and second.sha256 in found
            and float(found[first.sha256] @ found[second.sha256]) >= SAME
            for first, second in pairs
        ]

    def _features(self, items: Sequence[Item]) -> dict[str, NDArray[np.float32]]:
        """Return a vector of length 1 for each image, by its digest."""
        found = {item.sha256: vector for item in items if (vector := self._kept(item)) is not None}
        missing = [item for item in items if item.sha256 not in found]
        for item, vector in self._computed(missing):
            found[item.sha256] = vector
            self._keep(item, vector)
            self._observer.on_progress(len(found), len(items))
        return found

    def _computed(self, items: Sequence[Item]) -> Iterator[tuple[Item, NDArray[np.float32]]]:
        if not items:
            return
        network = self._network()
        files = image_files(items)
        images = image_dataset(files, _SPEC, order=tf.range(len(items), dtype=tf.int64))
        for index, batch in images.batch(_BATCH).with_options(fixed_options()):
            vectors = tf.math.l2_normalize(network(batch), axis=1).numpy()
            for position, vector in zip(index.numpy().tolist(), vectors, strict=True):
                yield items[position], vector

    def _network(self) -> keras.Model:
        """Return the network from images [B, 128, 128, 3] to features [B, 512]."""
        # not needed where all features are kept, and Keras takes seconds to load
        import keras

        from tltool.models.backbone_registry import get_backbone
        from tltool.models.build import build_model

        whole = build_model(
            get_backbone(self._weights.name),
            image_size=(_SPEC.height, _SPEC.width),
            classes=2,
            head="gap",
            dropout=0.0,
            hidden_units=1,
            norm="none",
            weights=self._weights.path,
            seed=0,
        )
        cut = whole.get_layer(_LAYER).output
        return keras.Model(whole.input, keras.ops.mean(cut, axis=(1, 2)))

    def _kept(self, item: Item) -> NDArray[np.float32] | None:
        try:
            vector = np.load(self._folder / f"{item.sha256}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return vector if vector.shape == (512,) and vector.dtype == np.float32 else None

    def _keep(self, item: Item, vector: NDArray[np.float32]) -> None:
        # a cache that cannot be written costs time at the next check, and nothing else
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(descriptor, "wb") as file:
                np.save(file, vector)
            Path(name).replace(self._folder / f"{item.sha256}.npy")
