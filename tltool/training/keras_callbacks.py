"""Callbacks of Keras in the training loop of tltool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tltool.errors import UsageError

_REFUSED = {
    keras.callbacks.LearningRateScheduler: "train.schedule sets the learning rate",
    keras.callbacks.ReduceLROnPlateau: "train.schedule=plateau lowers the learning rate",
    keras.callbacks.SwapEMAWeights: "train.ema averages the weights",
    keras.callbacks.BackupAndRestore: "an interrupted run is resumed by `tltool runs resume`",
    keras.callbacks.TensorBoard: "tensorboard=True writes event files",
    keras.callbacks.ProgbarLogger: "observer= receives the progress",
}
_HOOKS = (
    *("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end"),
    *("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
)
_BATCH_HOOKS = _HOOKS[4:]


class TrainingHooks:
    """Calls the hooks of callbacks in a phase of training; a phase is one ``fit``.

    Args:
        callbacks: of Keras; none for nothing.
        model: the whole network, which callbacks see as ``self.model``.

    Attributes:
        stopped: whether a callback has set ``self.model.stop_training``.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback] = (), model: keras.Model | None = None
    ) -> None:
        self._callbacks, self._model = callbacks, model
        self._of_batches = [one for one in callbacks if _overridden(one, _BATCH_HOOKS)]
        self._sums = np.zeros(3)

    @property
    def stopped(self) -> bool:
        """Whether a callback has asked for the end of the phase."""
        return bool(self._callbacks) and bool(getattr(self._model, "stop_training", False))

    @contextmanager
    def phase(self, *, epochs: int, steps: int) -> Iterator[None]:
        """Call ``on_train_begin`` and, unless the phase fails, ``on_train_end``."""
        if not self._callbacks:
            yield
            return
        self._resume_training()
        for callback in self._callbacks:
            callback.set_params({"epochs": epochs, "steps": steps, "verbose": 0})
            callback.set_model(self._model)
            callback.on_train_begin({})
        yield
        for callback in self._callbacks:
            callback.on_train_end({})
        self._resume_training()

    def begin_epoch(self, epoch: int) -> None:
        """Call ``on_epoch_begin``; epochs count from 1 here, and from 0 in Keras."""
        self._sums = np.zeros(3)
        if self._callbacks:
            self._resume_training()
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch - 1, {})

    def end_epoch(self, epoch: int, row: Mapping[str, Any]) -> None:
        """Call ``on_epoch_end`` with the numbers of a row of the history."""
        for callback in self._callbacks:
            logs = {key: value for key, value in row.items() if isinstance(value, float)}
            callback.on_epoch_end(epoch - 1, logs)

    def begin_batch(self, number: int) -> None:
        """Call ``on_train_batch_begin``; ``number`` counts from 1."""
        for callback in self._of_batches:
            callback.on_train_batch_begin(number - 1, {})

    def end_batch(self, number: int, sums: Any) -> None:
        """Call ``on_train_batch_end`` with loss and accuracy of the epoch so far.

        Args:
            number: of the batch, from 1.
            sums: of loss, hits and rows of this batch, float32 [3]; only read if a callback asks.
        """
        if self._of_batches:
            self._sums += sums.numpy()
        for callback in self._of_batches:
            loss, hits, rows = self._sums.tolist()
            callback.on_train_batch_end(number - 1, {"loss": loss / rows, "accuracy": hits / rows})

    def _resume_training(self) -> None:
        assert self._model is not None
        self._model.stop_training = False


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Check that the training loop can call all hooks of these callbacks.

    Raises:
        UsageError: it cannot, or an object is no callback of Keras.
    """
    if not isinstance(callbacks, Sequence):
        raise UsageError("callbacks= is no list", hint="give a list of keras.callbacks.Callback")
    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, keras.callbacks.Callback):
            raise UsageError(
                f"callbacks= has an entry of type {name}", hint="give keras.callbacks.Callback"
            )
        for kind, instead in _REFUSED.items():
            if isinstance(callback, kind):
                raise UsageError(
                    f"the callback {name} has no effect on training by tltool", hint=instead
                )
        other = _overridden(callback, [hook for hook in _all_hooks() if hook not in _HOOKS])
        if other:
            raise UsageError(
                f"the callback {name} has the hook {other[0]}, which is never called: validation "
                "and prediction do not run in Keras",
                hint="use on_epoch_end, whose logs have the validation metrics",
            )


def _all_hooks() -> list[str]:
    return [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]


def _overridden(callback: keras.callbacks.Callback, hooks: Sequence[str]) -> list[str]:
    """Return those of ``hooks`` that a callback defines, in its class or as an attribute."""
    base = keras.callbacks.Callback
    return [
        hook
        for hook in hooks
        if hook in vars(callback) or getattr(type(callback), hook) is not getattr(base, hook)
    ]
