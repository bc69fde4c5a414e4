"""What the signatures of a SavedModel answer, from the probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def named(
    probabilities: tf.Tensor, class_names: Sequence[str], *, top_k: int
) -> dict[str, tf.Tensor]:
    """Return the outputs about probabilities float32 [N, C].

    Args:
        probabilities: of the C classes.
        class_names: theirs.
        top_k: how many of the best classes are named, best first; 0 names none.

    Returns:
        ``class_name`` string [N], ``class_id`` int64 [N], ``confidence`` float32 [N] and
        ``probabilities``; with K = min(top_k, C) > 0 also ``top_class_names`` string [N, K] and
        ``top_probabilities`` float32 [N, K].
    """
    names = tf.constant(list(class_names), tf.string)
    class_id = tf.argmax(probabilities, axis=-1)
    answers = {
        "class_name": tf.gather(names, class_id),
        "class_id": class_id,
        "confidence": tf.reduce_max(probabilities, axis=-1),
        "probabilities": probabilities,
    }
    if top_k:
        best = tf.math.top_k(probabilities, min(top_k, len(class_names)))
        answers["top_class_names"] = tf.gather(names, best.indices)
        answers["top_probabilities"] = best.values
    return answers


def in_distribution(ood_scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the outputs about scores float32 [N]: ``ood_score``, and ``is_known`` bool [N]."""
    return {"ood_score": ood_scores, "is_known": ood_scores <= 1}


def with_ok(answers: dict[str, tf.Tensor], ok: tf.Tensor) -> dict[str, tf.Tensor]:
    """Replace the answers to what could not be decoded by such that say nothing.

    Args:
        answers: of ``named`` and ``in_distribution``.
        ok: bool [N], whether an item could be decoded.

    Returns:
        The same outputs, and ``ok``.
    """
    even = tf.constant(1 / answers["probabilities"].shape[-1], tf.float32)
    nothing = {
        "class_name": "",
        "class_id": tf.constant(-1, tf.int64),
        "top_class_names": "",
        "ood_score": 0.0,
        "is_known": False,
    }
    return {
        **{
            name: tf.where(
                tf.reshape(ok, [-1] + [1] * (found.shape.rank - 1)), found, nothing.get(name, even)
            )
            for name, found in answers.items()
        },
        "ok": tf.identity(ok),
    }
