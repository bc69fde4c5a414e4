"""One pass of photos through the frozen part of the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tltool.events import Observer
from tltool.features.store import ActivationStore

Forward = Callable[[tf.Tensor], tuple[tf.Tensor, ...]]


@dataclass(frozen=True)
class Features:
    """What one pass over ``N`` photos gave, row by row in the order of the pass.

    Attributes:
        index: position of each row's photo in its catalog, int64 [N].
        labels: one-hot or mixed labels, float32 [N, C].
        pooled: input of the head, float32 [N, D] (or [N, h, w, C], see ``Network.pooled``).
        activations: output of the trunk at the cut, bfloat16 [N, h, w, c]; None without a cut.
    """

    index: np.ndarray
    labels: np.ndarray
    pooled: np.ndarray
    activations: np.ndarray | None


class Extractor:
    """The forward pass that yields pooled features and, if wanted, the activations at the cut.

    Args:
        images: symbolic input of the network.
        pooled: symbolic input of the head, [B, D] or [B, h, w, C].
        cut: symbolic activation [B, h, w, c] at which the network is cut, or None.
    """

    def __init__(
        self, images: keras.KerasTensor, pooled: keras.KerasTensor, cut: keras.KerasTensor | None
    ) -> None:
        self.pooled_shape = tuple(int(side) for side in pooled.shape[1:])
        self.cut_shape = None if cut is None else tuple(int(side) for side in cut.shape[1:])
        # by name: Keras gives a bare tensor for a list of one output
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
        batches: tf.data.Dataset,
        *,
        count: int,
        classes: int,
        store: ActivationStore,
        observer: Observer,
    ) -> Features:
        """Return the features of ``count`` photos.

        Args:
            batches: (index [B], images float32 [B, H, W, 3], labels float32 [B, classes]).
            count: photos in all.
            classes: number of classes.
            store: where activations are kept.
            observer: told about the progress.

        Raises:
            EnvironmentProblem: no room for the activations.
        """
        features = self._empty(count, classes, store)
        done = 0
        for index, images, labels in batches:
            outputs = self.forward(images)
            rows = slice(done, done + len(outputs[0]))
            features.index[rows] = index.numpy()
            features.labels[rows] = labels.numpy()
            features.pooled[rows] = outputs[0].numpy()
            if features.activations is not None:
                features.activations[rows] = outputs[1].numpy()
            done = rows.stop
            observer.on_progress(done, count)
        return features

    def _empty(self, count: int, classes: int, store: ActivationStore) -> Features:
        return Features(
            index=np.zeros(count, np.int64),
            labels=np.zeros((count, classes), np.float32),
            pooled=np.zeros((count, *self.pooled_shape), np.float32),
            activations=None
            if self.cut_shape is None
            else store.allocate((count, *self.cut_shape)),
        )
