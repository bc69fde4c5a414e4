"""Optimisers, one per group of variables with its own learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import keras


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
    kind: Literal["adamw", "sgd"],
    group: Group,
    *,
    weight_decay: float,
) -> keras.optimizers.Optimizer:
    """Return a built optimiser for ``group``: AdamW, or SGD with momentum 0.9.

    Weight decay is decoupled (Loshchilov and Hutter 2019) and excludes biases and normalisation.
    """
    if kind == "adamw":
        optimizer = keras.optimizers.AdamW(learning_rate=0.0, weight_decay=weight_decay)
    else:
        optimizer = keras.optimizers.SGD(
            learning_rate=0.0, momentum=0.9, weight_decay=weight_decay or None
        )
    excluded = [variable for variable in group.variables if len(variable.shape) < 2]
    if excluded:
        optimizer.exclude_from_weight_decay(var_list=excluded)
    optimizer.build(list(group.variables))
    return optimizer
