"""Objects of a Python program that take part in training, which no recipe can describe."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import keras
import numpy as np

from tltool.errors import UsageError, did_you_mean
from tltool.recipe.train_section import OptimizerName
from tltool.training.keras_callbacks import check_callbacks
from tltool.training.keras_losses import RowLoss, row_loss
from tltool.training.keras_metrics import KerasMetrics, keras_metrics

_REFUSED_SETTINGS = {
    "use_ema": "train.ema",
    "clipnorm": "train.clip_norm",
    "clipvalue": "train.clip_norm",
    "global_clipnorm": "train.clip_norm",
    "gradient_accumulation_steps": "train.accumulate",
    "loss_scale_factor": "train.precision",
}
_REFUSED_OPTIMIZERS = {
    "LossScaleOptimizer": "train.precision=float16 scales the loss itself",
    "MultiOptimizer": "train.finetune.stage_decay sets the learning rates of stages",
    "ScheduleFreeAdamW": "it needs other weights for validation, which tltool does not know",
    "Ftrl": "it cannot train at the learning rate 0 of a warm-up",
}
_NOT_SETTINGS = ("name", "module", "registered_name", "dtype", "build_config", "build_input_shape")
_RATES = "train.head.learning_rate and train.finetune.learning_rate"


@dataclass(frozen=True)
class KerasObjects:
    """What a program gives to training beside the recipe; nothing by default.

    Attributes:
        optimizer: name or object of an optimizer of Keras, whose settings are copied for each group
            of layers; the learning rates are those of the recipe.
        loss: name or object of a loss of Keras, or a function of labels and probabilities,
            float32 [B, C] each, that returns one value for each row.
        metrics: names or objects of metrics of Keras, or functions.
        callbacks: ``keras.callbacks.Callback`` objects.
        augment: a Keras layer, or a function from an image to an image, float32 [H, W, 3] in
            0..255; instead of the augmentation of images by the recipe.

    Raises:
        UsageError: one of them cannot take part.

    Examples:
        >>> objects = KerasObjects(optimizer="nadam", metrics=["f1_score"])
        >>> objects.description["optimizer"]["class"]
        'Nadam'
    """

    optimizer: Any = None
    loss: Any = None
    metrics: Sequence[Any] = ()
    callbacks: Sequence[Any] = ()
    augment: Any = None

    def __post_init__(self) -> None:
        _ = self.own_optimizer, self.row_loss, self.keras_metrics
        check_callbacks(self.callbacks)
        if self.augment is not None and not callable(self.augment):
            raise UsageError(
                f"augment= is of type {type(self.augment).__name__}",
                hint="give a Keras layer, or a function that takes an image and returns an image",
            )

    @cached_property
    def own_optimizer(self) -> keras.optimizers.Optimizer | None:
        """The optimizer whose settings are copied; None for that of the recipe."""
        return None if self.optimizer is None else _optimizer(self.optimizer)

    @cached_property
    def row_loss(self) -> RowLoss | None:
        """The loss; None for that of the recipe."""
        return row_loss(self.loss)

    @cached_property
    def keras_metrics(self) -> KerasMetrics | None:
        """The metrics; None without any."""
        return keras_metrics(self.metrics)

    @property
    def description(self) -> dict[str, Any]:
        """What there is, for the manifest: names of classes and functions, with their settings."""
        one = {"optimizer": self.own_optimizer, "loss": self.loss, "augment": self.augment}
        found = {name: _described(value) for name, value in one.items() if value is not None}
        several = {"metrics": self.metrics, "callbacks": self.callbacks}
        return found | {
            name: [_described(v) for v in many] for name, many in several.items() if many
        }

    @property
    def notes(self) -> Iterator[str]:
        """Yield a sentence on each setting of these objects that has no effect."""
        optimizer = self.own_optimizer
        if optimizer is None or isinstance(self.optimizer, str):
            return
        rate = float(optimizer.get_config()["learning_rate"])
        parameter = inspect.signature(type(optimizer)).parameters.get("learning_rate")
        if parameter is None or not np.isclose(rate, parameter.default, rtol=1e-6):
            yield (
                f"the learning rate {rate:g} of the optimizer is not used: {_RATES} set it, "
                "and train.schedule changes it"
            )


NO_OBJECTS = KerasObjects()


def is_recipe_optimizer(optimizer: Any) -> bool:
    """Whether a recipe can name this optimizer."""
    return isinstance(optimizer, str) and optimizer.lower() in get_args(OptimizerName)


def _optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    found = _by_name(optimizer) if isinstance(optimizer, str) else optimizer
    if not isinstance(found, keras.optimizers.Optimizer):
        raise UsageError(
            f"optimizer= is of type {type(optimizer).__name__}",
            hint="give a name of Keras, or a keras.optimizers.Optimizer",
        )
    name = type(found).__name__
    if name in _REFUSED_OPTIMIZERS:
        raise UsageError(
            f"the optimizer {name} cannot be used here", hint=_REFUSED_OPTIMIZERS[name]
        )
    config = found.get_config()
    for setting, key in _REFUSED_SETTINGS.items():
        if config.get(setting):
            raise UsageError(
                f"the optimizer {name} has {setting}={config[setting]}, which must be set in the "
                "recipe",
                hint=f"leave it out, and use the key {key}: set={{'{key}': ...}}",
            )
    if not isinstance(config.get("learning_rate"), float):
        raise UsageError(
            f"the optimizer {name} has a learning rate schedule",
            hint=f"train.schedule changes the learning rates, which {_RATES} set",
        )
    return found


def _by_name(name: str) -> Any:
    try:
        return keras.optimizers.get(name)
    except ValueError:
        names = get_args(OptimizerName)
        raise UsageError(
            f"Keras has no optimizer '{name}'.{did_you_mean(name, names)}",
            hint=f"such as {', '.join(names)}",
        ) from None


def _described(value: Any) -> Any:
    """Return a name, or the class and the settings of an object, JSON-ready.

    What Keras numbers anew in each process, and what it adds when a layer is built, is left out:
    the same object has the same description in another process.
    """
    if isinstance(value, str):
        return value
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if not hasattr(value, "get_config"):
        return name
    try:
        config = _settings(json.loads(json.dumps(value.get_config(), default=str)))
    except (NotImplementedError, TypeError, ValueError):
        return name
    return {"class": name, "config": config}


def _settings(config: Any) -> Any:
    if isinstance(config, list):
        entries = [one for one in config if not _is_input(one)]
        return [_settings(one) for one in entries]
    if isinstance(config, dict):
        return {key: _settings(one) for key, one in config.items() if key not in _NOT_SETTINGS}
    return config


def _is_input(config: Any) -> bool:
    return isinstance(config, dict) and config.get("class_name") == "InputLayer"
