"""The augmentation of a run, chosen once the number of training images is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tltool.augment.spec import (
    AugmentSpec,
)
from tltool.recipe.augmentation_policies import AUTO, MIXUP_PAYS, Choice
from tltool.recipe.schema import Recipe
from tltool.workflows.resolve.augmentation import augment_spec, listed_changes, resolve_augmentation

if TYPE_CHECKING:
    from tltool.data.catalog import Item
    from tltool.workflows.training_run.context import Session


def choose_augmentation(session: Session, train: Sequence[Item], *, cached: bool) -> AugmentSpec:
    """Return what is changed in training images, and tell the user what it is and why.

    Args:
        session: the run.
        train: training images.
        cached: whether phases run on cached features.
    """
    from tltool.data.checks.recipe_choice import (
        tiny_and_grey,  # here: recipes are checked without PIL
    )

    photos = len(train)
    section, choice = resolve_augmentation(
        session.recipe.augment, photos, signs=tiny_and_grey(train)
    )
    spec = augment_spec(section)
    unused = None if spec.identity else _unused(session.recipe, cached=cached)
    if unused:
        spec, choice = AugmentSpec(), Choice("none", unused)
    changes = listed_changes(section, photos=not unused)
    session.observer.on_message(f"augmentation: {_told(choice, changes)}")
    if session.recipe.augment.policy != AUTO and spec.mixes and photos < MIXUP_PAYS:
        session.observer.on_message(
            f"augmentation: {photos:,} training images are blended; below {MIXUP_PAYS:,} the "
            "accuracy is often better without mixup and cutmix"
        )
    session.note(augmentation={"policy": choice.policy, "why": choice.why, "changes": changes})
    return spec


def _told(choice: Choice, changes: str) -> str:
    if choice.policy == "none" and changes:  # key by key, or of cached features alone
        return f"{changes} ({choice.why})"
    told = f"{choice.policy} ({choice.why})"
    return f"{told}: {changes}" if changes else told


def _unused(recipe: Recipe, *, cached: bool) -> str | None:
    """Return why no phase ever sees a changed image, or None."""
    if not (recipe.train.head.epochs or recipe.train.finetune.epochs):
        return "the probe learns from the images as they are, and no other phase has epochs"
    if cached and recipe.train.cache.views == 1:
        return "train.cache.views is 1: only the images as they are"
    return None
