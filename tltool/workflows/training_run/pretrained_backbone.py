"""The backbone as it was before fine-tuning, for the linear probe on the test images."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tltool.features.out_of_memory import InParts
from tltool.models.batch_norm_folding import folded
from tltool.models.network_parts import Network
from tltool.training.precision import Precision


class PretrainedBackbone:
    """Computes the pooled features of the current and of the original backbone in one pass.

    It keeps a copy of the layers that fine-tuning changes, so it is made before training. All
    layers below are shared.

    Args:
        network: the classifier before training.
        stage: the lowest stage that will be trained; None if the backbone stays frozen.
        precision: arithmetic of the backbone.
    """

    def __init__(self, network: Network, stage: str | None, precision: Precision) -> None:
        self._precision = precision
        outputs, original = [network.pooled], None
        if stage is not None:
            trunk = network.backbone.previous(stage)
            cut = network.images if trunk is None else network.cut(stage)
            tail = keras.Model(cut, network.pooled)
            copy = keras.models.clone_model(tail)
            copy.set_weights(tail.get_weights())
            outputs.append(cut)
            original = folded(copy)
        model = folded(keras.Model(network.images, outputs))

        def run(images: tf.Tensor) -> list[tf.Tensor]:
            computed = model(tf.cast(images, tf.float32), training=False)
            pooled, *at_cut = tf.nest.flatten(computed)
            before = [original(one, training=False) for one in at_cut] if original else []
            return [tf.cast(one, tf.float32) for one in (pooled, *before)]

        compiled = tf.function(run, autograph=False, reduce_retracing=True)
        self._run = InParts(compiled, "predictions")

    def pooled(self, images: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return current and original pooled features, float32 [B, D] or [B, h, w, D] each.

        Args:
            images: float32 [B, H, W, 3] in 0…255.
        """
        with self._precision.active():
            features = [np.asarray(one) for one in self._run(images)]
        return features[0], features[-1]
