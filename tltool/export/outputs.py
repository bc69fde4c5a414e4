"""The outputs of the signatures of a SavedModel, computed from the probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def class_outputs(
    probabilities: tf.Tensor, class_names: Sequence[str], *, top_k: int
) -> dict[str, tf.Tensor]:
    """Return the outputs for probabilities float32 [N, C].

    Args:
        probabilities: of the C classes.
        class_names: names of the C classes.
        top_k: how many of the most probable classes to return by name; 0 for none.

    Returns:
        ``class_name`` string [N], ``class_id`` int64 [N], ``confidence`` float32 [N] and
        ``probabilities``; with K = min(top_k, C) > 0 also ``top_class_names`` string [N, K] and
        ``top_probabilities`` float32 [N, K], the most probable first.
    """
    names = tf.constant(list(class_names), tf.string)
    class_id = tf.argmax(probabilities, axis=-1)
    outputs = {
        "class_name": tf.gather(names, class_id),
        "class_id": class_id,
        "confidence": tf.reduce_max(probabilities, axis=-1),
        "probabilities": probabilities,
    }
    if top_k:
        best = tf.math.top_k(probabilities, min(top_k, len(class_names)))
        outputs["top_class_names"] = tf.gather(names, best.indices)
        outputs["top_probabilities"] = best.values
    return outputs


def ood_outputs(ood_scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return ``ood_score`` float32 [N], and ``is_known`` bool [N]: a score of 1 or less."""
    return {"ood_score": ood_scores, "is_known": ood_scores <= 1}


def mask_undecoded(outputs: dict[str, tf.Tensor], ok: tf.Tensor) -> dict[str, tf.Tensor]:
    """Replace the outputs of items that could not be decoded by neutral values, and add ``ok``.

    Args:
        outputs: of ``class_outputs`` and ``ood_outputs``.
        ok: whether each item could be decoded, bool [N].
    """
    uniform = tf.constant(1 / outputs["probabilities"].shape[-1], tf.float32)
    neutral = {
        "class_name": "",
        "class_id": tf.constant(-1, tf.int64),
        "top_class_names": "",
        "ood_score": 0.0,
        "is_known": False,
    }
    return {
        **{
            name: tf.where(
                tf.reshape(ok, [-1] + [1] * (output.shape.rank - 1)),
                output,
                neutral.get(name, uniform),
            )
            for name, output in outputs.items()
        },
        "ok": tf.identity(ok),
    }
