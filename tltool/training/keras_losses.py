"""A loss of Keras, or a function, instead of the cross-entropy of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tltool.errors import UsageError, did_you_mean

_NAMES = ("categorical_crossentropy", "categorical_focal_crossentropy", "binary_crossentropy")


class RowLoss:
    """A loss with one value for each row of a batch.

    Args:
        loss: ``keras.losses.Loss``, or a function of (labels, probabilities).
    """

    def __init__(self, loss: keras.losses.Loss | Callable[..., Any]) -> None:
        self._call = loss.call if isinstance(loss, keras.losses.Loss) else loss
        self._from_logits = takes_logits(loss)

    def __call__(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the loss of each row, float32 [B].

        Args:
            labels: float32 [B, C], each row sums to 1.
            logits: float32 [B, C]; the loss gets probabilities, unless it has ``from_logits=True``.
        """
        outputs = logits if self._from_logits else tf.nn.softmax(logits)
        losses = tf.cast(self._call(labels, outputs), tf.float32)
        if losses.shape.rank == 0:  # a mean over the batch
            return losses * tf.ones(tf.shape(labels)[0])
        return tf.reduce_mean(losses, axis=list(range(1, losses.shape.rank)))


def row_loss(loss: Any) -> RowLoss | None:
    """Return a loss given by name, as an object or as a function; None for None.

    Raises:
        UsageError: there is no such loss, or it takes class numbers.
    """
    if loss is None:
        return None
    found = _by_name(loss) if isinstance(loss, str) else loss
    if not callable(found):
        raise UsageError(
            f"loss= is of type {type(loss).__name__}",
            hint="give a name of Keras, a keras.losses.Loss, or a function of labels and outputs",
        )
    name = getattr(found, "__name__", type(found).__name__)
    if name.lower().startswith("sparse"):
        raise UsageError(
            f"the loss {name} takes class numbers, and labels here are one-hot vectors",
            hint="give the loss without 'sparse', such as categorical_crossentropy",
        )
    return RowLoss(found)


def takes_logits(loss_or_metric: Any) -> bool:
    """Whether a loss or metric of Keras was made with ``from_logits=True``."""
    keywords = getattr(loss_or_metric, "_fn_kwargs", {})
    return bool(getattr(loss_or_metric, "from_logits", keywords.get("from_logits", False)))


def _by_name(name: str) -> Any:
    try:
        return keras.losses.get(name)
    except ValueError:
        raise UsageError(
            f"Keras has no loss '{name}'.{did_you_mean(name, _NAMES)}",
            hint=f"such as {', '.join(_NAMES)}",
        ) from None
