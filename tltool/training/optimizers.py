"""Optimisers, one per group of variables with its own learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tltool.recipe.train_section import OptimizerName

_CLASSES = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "lion": "Lion"}


@dataclass(frozen=True)
class Group:
    """Variables that share a learning rate.

    Attributes:
        variables: the variables that are trained.
        multiple: factor on the learning rate of the phase (discriminative learning rates).
        name: name of their stage.
    """

    variables: Sequence[keras.Variable]
    multiple: float = 1.0
    name: str = ""


def make_optimizer(
    chosen: OptimizerName | keras.optimizers.Optimizer,
    group: Group,
    *,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> keras.optimizers.Optimizer:
    """Return a built optimizer for ``group``, of a class of Keras and with learning rate 0.

    Weight decay is decoupled (Loshchilov and Hutter 2019) and excludes biases and normalisation.

    Args:
        chosen: a name, or an optimizer whose settings are copied, with its own weight decay.
        group: what it trains.
        weight_decay: of all named optimizers but adam.
        momentum: of sgd.
        nesterov: whether the momentum of sgd is Nesterov's.
    """
    if isinstance(chosen, str):
        settings: dict[str, Any] = {}
        if chosen != "adam":
            settings["weight_decay"] = weight_decay or (0.0 if chosen == "adamw" else None)
        if chosen == "sgd":
            settings |= {"momentum": momentum, "nesterov": nesterov}
        optimizer = getattr(keras.optimizers, _CLASSES[chosen])(learning_rate=0.0, **settings)
    else:
        optimizer = type(chosen).from_config({**chosen.get_config(), "learning_rate": 0.0})
    excluded = [variable for variable in group.variables if len(variable.shape) < 2]
    if excluded:
        optimizer.exclude_from_weight_decay(var_list=excluded)
    optimizer.build(list(group.variables))
    return optimizer
