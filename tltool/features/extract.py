"""Feature extraction: one pass of images through the frozen layers of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tltool.events import Observer
from tltool.features.feature_store import BFLOAT16, FeatureStore, Rows

# A killed run repeats at most one shard: some seconds of work.
_SHARD_BATCHES = 8

Forward = Callable[[tf.Tensor], tuple[tf.Tensor, ...]]


@dataclass(frozen=True)
class Features:
    """Features of ``N`` images, row by row in the order of the pass.

    Attributes:
        index: position of each row's image in its catalog, int64 [N].
        labels: one-hot or mixed labels, float32 [N, C].
        pooled: input of the head, float32 [N, D] (or [N, h, w, C], see ``Network.pooled``).
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
        network = keras.Model(images, outputs_by_name)

        @tf.function(
            input_signature=[tf.TensorSpec((None, *images.shape[1:]), tf.float32)], autograph=False
        )
        def forward(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
            outputs = network(batch, training=False)
            first = tf.cast(outputs["pooled"], tf.float32)
            return (first,) if cut is None else (first, tf.cast(outputs["cut"], tf.bfloat16))

        self.forward: Forward = forward

    def run(
        self,
        batches_from: Callable[[int], Iterable[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]],
        folder: Path,
        *,
        count: int,
        classes: int,
        observer: Observer,
    ) -> Features:
        """Return the features of ``count`` images, resuming where an earlier process was killed.

        Args:
            batches_from: returns batches (index [B], images float32 [B, H, W, 3], labels float32
                [B, classes]) from a row of the pass on, a multiple of the batch size.
            folder: folder of the stored features.
            count: number of images.
            classes: number of classes.
            observer: receives the progress.

        Raises:
            EnvironmentProblem: no disk space for the features.
        """
        store = FeatureStore(folder, count=count, columns=self._columns(classes))
        done = store.rows
        if done < count:
            for number, (index, images, labels) in enumerate(batches_from(done), start=1):
                outputs = dict(zip(("pooled", "activations"), self.forward(images), strict=False))
                values = {name: value.numpy() for name, value in outputs.items()}
                store.append(index=index.numpy(), labels=labels.numpy(), **values)
                done += len(values["pooled"])
                if number % _SHARD_BATCHES == 0 or done == count:
                    store.commit()
                observer.on_progress(done, count)
        columns = store.columns
        return Features(
            index=columns["index"].read(0, count),
            labels=columns["labels"].read(0, count),
            pooled=columns["pooled"].read(0, count),
            activations=columns.get("activations"),
        )

    def _columns(self, classes: int) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        columns: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
            "index": (np.dtype(np.int64), ()),
            "labels": (np.dtype(np.float32), (classes,)),
            "pooled": (np.dtype(np.float32), self.pooled_shape),
        }
        if self.cut_shape is not None:
            columns["activations"] = (BFLOAT16, self.cut_shape)
        return columns
