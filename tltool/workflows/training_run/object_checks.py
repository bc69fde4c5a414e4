"""Checks of what a Python program gives to training, against the recipe."""

from __future__ import annotations

from tltool.errors import UsageError
from tltool.training.keras_objects import KerasObjects
from tltool.workflows.resolve.run_spec import RunSpec, explicit_size
from tltool.workflows.training_run.choose_augmentation import transform_of


def check_objects(spec: RunSpec, objects: KerasObjects) -> None:
    """Check objects that must fit the recipe; opens no image.

    Raises:
        UsageError: one does not fit, or has no effect with this recipe.
    """
    train = spec.recipe.train
    if objects.row_loss is not None and train.imbalance == "focal":
        raise UsageError(
            "loss= replaces the focal loss that train.imbalance=focal asks for",
            hint="leave one of them out; keras.losses.CategoricalFocalCrossentropy is a loss=",
        )
    named = [name for name in ("optimizer", "loss", "callbacks") if getattr(objects, name)]
    if named and not train.head.epochs and not train.finetune.epochs:
        raise UsageError(
            f"{named[0]}= has no effect: the recipe {spec.recipe.name} fits a linear probe alone, "
            "without epochs",
            hint="set train.head.epochs or train.finetune.epochs, or choose another recipe",
        )
    if objects.augment is not None and explicit_size(spec.recipe):
        transform_of(objects.augment, (spec.decode.height, spec.decode.width))
