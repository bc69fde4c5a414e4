"""Feature extraction: one pass of images through the frozen layers of the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tltool.events import Observer
from tltool.features.background_writer import BackgroundWriter
from tltool.features.feature_store import BFLOAT16, FeatureStore
from tltool.features.out_of_memory import InParts
from tltool.features.stored_rows import Rows
from tltool.models.batch_norm_folding import folded
from tltool.models.model_file import load_model_file
from tltool.storage.durable import replaced_file

Forward = Callable[[tf.Tensor], tuple[tf.Tensor, ...]]
Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class Features:
    """Features of ``N`` images, row by row in the order of the pass.

    Attributes:
        index: position of each row's image in its catalog, int64 [N].
        labels: one-hot or mixed labels, float32 [N, C].
        pooled: input of the head, float32 [N, D] (or [N, h, w, C], see ``Network.pooled``); like
            the labels read-only and in a file where it is large, see ``Column.whole``.
        activations: output of the trunk, bfloat16 [N, h, w, c], in a file; None without a cut.
    """

    index: np.ndarray
    labels: np.ndarray
    pooled: np.ndarray
    activations: Rows | None


class Extractor:
    """The forward pass to pooled features and, optionally, to the activations at the cut.

    Args:
        images: symbolic input of the network.
        pooled: symbolic input of the head, [B, D] or [B, h, w, C].
        cut: symbolic activation [B, h, w, c] at which trunk and tail are separated, or None.
    """

    def __init__(
        self, images: keras.KerasTensor, pooled: keras.KerasTensor, cut: keras.KerasTensor | None
    ) -> None:
        self.pooled_shape = tuple(int(side) for side in pooled.shape[1:])
        self.cut_shape = None if cut is None else tuple(int(side) for side in cut.shape[1:])
        # by name: Keras returns a bare tensor for a list of one output
        outputs_by_name = {"pooled": pooled} if cut is None else {"pooled": pooled, "cut": cut}
        self._model = keras.Model(images, outputs_by_name)
        network = folded(self._model)

        @tf.function(
            input_signature=[tf.TensorSpec((None, *images.shape[1:]), tf.float32)], autograph=False
        )
        def forward(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
            outputs = network(batch, training=False)
            first = tf.cast(outputs["pooled"], tf.float32)
            return (first,) if cut is None else (first, tf.cast(outputs["cut"], tf.bfloat16))

        self.forward: Forward = InParts(forward, "features")

    @classmethod
    def from_file(cls, path: Path) -> Extractor:
        """Return the extractor that ``save`` wrote.

        Raises:
            Exception: of any type, if the file is damaged.
        """
        model = load_model_file(path)
        return cls(model.inputs[0], model.output["pooled"], model.output.get("cut"))

    def save(self, folder: Path) -> Path:
        """Write the network to a ``.keras`` file named after its weights, unless it exists.

        Args:
            folder: is made if it is missing.

        Raises:
            OSError: it cannot be written.
        """
        digest = hashlib.sha256(self._model.to_json().encode())
        for value in self._model.get_weights():
            digest.update(np.ascontiguousarray(value).tobytes())
        path = folder / f"network-{digest.hexdigest()[:16]}.keras"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with replaced_file(path) as part:
                self._model.save(part)
        return path

    def rows(self, batches: Iterable[Batch]) -> dict[str, np.ndarray]:
        """Return the columns of some batches: what ``run`` stores of them."""
        parts = [
            {name: values.numpy() for name, values in self._rows(batch).items()}
            for batch in batches
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def run(
        self,
        batches_from: Callable[[int], Iterable[Batch]],
        folder: Path,
        *,
        count: int,
        classes: int,
        observer: Observer,
        computing: Callable[[], AbstractContextManager[None]] = nullcontext,
        elsewhere: Callable[[FeatureStore], None] | None = None,
    ) -> Features:
        """Return the features of ``count`` images, resuming where an earlier process was killed.

        Rows that the disk gives back with a wrong checksum, now or later, are computed again.

        Args:
            batches_from: returns batches (index [B], images float32 [B, H, W, 3], labels float32
                [B, classes]) from a row of the pass on, a multiple of the batch size.
            folder: folder of the stored features.
            count: number of images.
            classes: number of classes.
            observer: receives the progress.
            computing: context in which damaged rows are computed again, such as an arithmetic.
            elsewhere: fills the store with rows that other processes compute; None to compute
                them here.

        Raises:
            EnvironmentProblem: no disk space for the features, or damaged rows cannot be mended.
        """
        store = FeatureStore(folder, count=count, columns=self._columns(classes))
        store.repair_with(partial(self._compute_again, store, batches_from, computing), observer)
        if store.rows < count and elsewhere is not None:
            elsewhere(store)
        self._compute(store, batches_from, observer)
        columns = store.columns
        return Features(
            index=columns["index"].read(0, count),
            labels=columns["labels"].whole(),
            pooled=columns["pooled"].whole(),
            activations=columns.get("activations"),
        )

    def _compute(
        self,
        store: FeatureStore,
        batches_from: Callable[[int], Iterable[Batch]],
        observer: Observer,
    ) -> None:
        """Compute the rows that are missing, in this process."""
        done = store.rows
        if done == store.count:
            return
        with BackgroundWriter(store) as writer:
            for batch in batches_from(done):
                writer.append(**self._rows(batch))
                done += len(batch[0])
                observer.on_progress(done, store.count)

    def _rows(self, batch: Batch) -> dict[str, tf.Tensor]:
        index, images, labels = batch
        outputs = zip(("pooled", "activations"), self.forward(images), strict=False)
        return {"index": index, "labels": labels, **dict(outputs)}

    def _compute_again(
        self,
        store: FeatureStore,
        batches_from: Callable[[int], Iterable[Batch]],
        computing: Callable[[], AbstractContextManager[None]],
        rows: list[int],
    ) -> None:
        """Write all rows of the batches of which some are damaged."""
        with computing():
            size = len(_first(batches_from(0))[0])
            for start in sorted({row // size * size for row in rows}):
                for name, values in self._rows(_first(batches_from(start))).items():
                    store.columns[name].write(start, values.numpy())

    def _columns(self, classes: int) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        columns: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
            "index": (np.dtype(np.int64), ()),
            "labels": (np.dtype(np.float32), (classes,)),
            "pooled": (np.dtype(np.float32), self.pooled_shape),
        }
        if self.cut_shape is not None:
            columns["activations"] = (BFLOAT16, self.cut_shape)
        return columns


def _first(batches: Iterable[Batch]) -> Batch:
    return next(iter(batches))
