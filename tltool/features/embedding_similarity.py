"""Cosine similarity of image embeddings, to confirm near-duplicates.

A copy that was rotated by a degree or two shares low frequencies with its original, but fine
details are displaced. Embeddings of a pretrained network are insensitive to that. They cannot find
candidates: images that differ only in a small central object have similar embeddings.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.data.audit.changed_files import files_as_audited
from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.pipeline import fixed_options, image_dataset, image_files
from tltool.events import Observer
from tltool.weights.weights_store import StoredWeights

if TYPE_CHECKING:
    import keras

SAME = 0.975
"""Cosine similarity from which two images are duplicates; two shots of one scene reach 0.968."""
MAX_IMAGES = 128
"""Maximum number of images per check, to bound its time: about 0.1 s each on two cores."""

_LAYER = "block4_pool"
_SPEC = DecodeSpec(128, 128, "squash")
_BATCH = 16


class EmbeddingSimilarity:
    """Compares images by their embeddings, which are cached on disk.

    Args:
        weights: of VGG16, for which ``SAME`` was measured.
        cache: the cache folder.
        observer: receives the progress.
    """

    def __init__(self, weights: StoredWeights, cache: Path, observer: Observer) -> None:
        self._weights, self._observer = weights, observer
        input_key = f"{_LAYER}-{_SPEC.height}x{_SPEC.width}-{_SPEC.resize}"
        self._folder = cache / f"features-{weights.name}-{weights.sha256[:12]}-{input_key}"

    def __call__(self, pairs: Sequence[tuple[Item, Item]]) -> list[bool]:
        """Return for each pair whether both images are duplicates; the likeliest pairs come first.

        If there are more than ``MAX_IMAGES`` images, the last pairs are not compared.
        """
        items = {item.sha256: item for pair in pairs for item in pair}
        chosen = list(items.values())[:MAX_IMAGES]
        self._observer.on_phase("features", f"{self._weights.name}, {len(chosen)} images")
        if len(items) > len(chosen):
            count = f"{len(chosen)} of {len(items):,} possible near-duplicates"
            self._observer.on_message(f"{self._weights.name} compares {count}")
        embeddings = self._embeddings(chosen)
        return [
            first.sha256 in embeddings
            and second.sha256 in embeddings
            and float(embeddings[first.sha256] @ embeddings[second.sha256]) >= SAME
            for first, second in pairs
        ]

    def _embeddings(self, items: Sequence[Item]) -> dict[str, NDArray[np.float32]]:
        """Return a vector of norm 1 for each image, by its digest."""
        vectors = {item.sha256: one for item in items if (one := self._cached(item)) is not None}
        missing = [item for item in items if item.sha256 not in vectors]
        for item, vector in self._computed(missing):
            vectors[item.sha256] = vector
            self._store(item, vector)
            self._observer.on_progress(len(vectors), len(items))
        return vectors

    def _computed(self, items: Sequence[Item]) -> Iterator[tuple[Item, NDArray[np.float32]]]:
        if not items:
            return
        network = self._network()
        files = image_files(items)
        images = image_dataset(files, _SPEC, order=tf.range(len(items), dtype=tf.int64))
        with files_as_audited(lambda: items):
            for index, batch in images.batch(_BATCH).with_options(fixed_options()):
                vectors = tf.math.l2_normalize(network(batch), axis=1).numpy()
                for position, vector in zip(index.numpy().tolist(), vectors, strict=True):
                    yield items[position], vector

    def _network(self) -> keras.Model:
        """Return the network from images [B, 128, 128, 3] to embeddings [B, 512]."""
        # imported here: Keras takes seconds to load and is not needed if all are cached
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

    def _cached(self, item: Item) -> NDArray[np.float32] | None:
        try:
            with np.load(self._path(item), allow_pickle=False) as file:  # compares its CRC-32
                vector = file["embedding"]
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None
        return vector if vector.shape == (512,) and vector.dtype == np.float32 else None

    def _store(self, item: Item, vector: NDArray[np.float32]) -> None:
        # if the cache cannot be written, the next check only takes longer
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(descriptor, "wb") as file:
                np.savez(file, embedding=vector)
            Path(name).replace(self._path(item))

    def _path(self, item: Item) -> Path:
        return self._folder / f"{item.sha256}.npz"
