"""The augmentation of a run, chosen once the number of training images is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tltool.augment.spec import AugmentSpec, OwnTransform
from tltool.data.catalog import Item
from tltool.data.checks.recipe_choice import looks_like_text
from tltool.recipe.augmentation_policies import AUTO, MIXUP_PAYS, PolicyChoice
from tltool.recipe.schema import Recipe
from tltool.workflows.resolve.augmentation import augment_spec, listed_changes, resolve_augmentation
from tltool.workflows.training_run.context import RunContext


def choose_augmentation(run: RunContext, train: Sequence[Item], *, cached: bool) -> AugmentSpec:
    """Return what is changed in training images, and report what it is and why.

    Args:
        run: the run.
        train: training images.
        cached: whether phases run on cached features.
    """
    count, recipe = len(train), run.recipe
    if run.objects.augment is not None:
        return _of_program(run, cached=cached)
    section, choice = resolve_augmentation(
        recipe.augment, count, looks_like_text=looks_like_text(train)
    )
    spec = augment_spec(section)
    unused = None if spec.identity else _why_unused(recipe, cached=cached)
    if unused:
        spec, choice = AugmentSpec(), PolicyChoice("none", unused)
    changes = listed_changes(section, images=not unused)
    run.observer.on_message(f"augmentation: {_summary(choice, changes)}")
    if recipe.augment.policy != AUTO and spec.mixes and count < MIXUP_PAYS:
        run.observer.on_message(
            f"augmentation: {count:,} training images are blended; below {MIXUP_PAYS:,} the "
            "accuracy is often better without mixup and cutmix"
        )
    augmentation = {"policy": choice.policy, "why": choice.why, "changes": changes}
    if not spec.identity:
        augmentation["device"] = _device(spec, gpu=run.machine.gpu)
    run.record(replace(run.manifest, augmentation=augmentation))
    return spec


def transform_of(augment: Any, size: tuple[int, int]) -> OwnTransform:
    """Return an augmentation of a program as a transform of images of this size.

    Raises:
        UsageError: it fails, or makes something else of an image than such an image.
    """
    from tltool.augment.own_augmentation import own_transform

    return own_transform(augment, size)


def _of_program(run: RunContext, *, cached: bool) -> AugmentSpec:
    """Return the augmentation that a program gives, and report whether it is reproducible."""
    decode = run.spec.decode
    own = transform_of(run.objects.augment, (decode.height, decode.width))
    unused = _why_unused(run.recipe, cached=cached)
    why = unused or "instead of the augmentation of images by the recipe"
    changes = listed_changes(run.recipe.augment, images=False)
    listed = ", ".join(filter(None, (None if unused else own.name, changes)))
    run.observer.on_message(f"augmentation: {listed} ({why})")
    augmentation = {"policy": "augment=", "why": why, "changes": listed, "device": "CPU"}
    run.record(replace(run.manifest, augmentation=augmentation))
    if unused:
        return AugmentSpec()
    if own.stateful:
        reason = (
            f"the augmentation {own.name} draws without the seed of the run ({own.stateful[0]})"
        )
        run.record(replace(run.manifest, not_reproducible=reason))
        run.observer.on_message(
            f"the run is not reproducible: {reason}; use keras.random, or a parameter seed",
            level="warning",
        )
    return AugmentSpec(own=own)


def _device(spec: AugmentSpec, *, gpu: bool) -> str:
    """Return where the pixels of training images are computed, for the manifest."""
    if not gpu:
        return "CPU"
    return "CPU up to JPEG compression, then GPU" if spec.needs_cpu else "GPU"


def planned_augmentation(run: RunContext, train: Sequence[Item]) -> AugmentSpec:
    """Return what the run changes in training images that are read in every epoch."""
    recipe, decode = run.recipe, run.spec.decode
    if run.objects.augment is not None:
        own = transform_of(run.objects.augment, (decode.height, decode.width))
        return AugmentSpec(own=own)
    text = looks_like_text(train)
    section, _ = resolve_augmentation(recipe.augment, len(train), looks_like_text=text)
    return augment_spec(section)


def _summary(choice: PolicyChoice, changes: str) -> str:
    if choice.policy == "none" and changes:  # key by key, or of cached features alone
        return f"{changes} ({choice.why})"
    policy = f"{choice.policy} ({choice.why})"
    return f"{policy}: {changes}" if changes else policy


def _why_unused(recipe: Recipe, *, cached: bool) -> str | None:
    """Return why no phase ever sees a changed image, or None."""
    if not (recipe.train.head.epochs or recipe.train.finetune.epochs):
        return "the probe is fitted on original images, and no other phase has epochs"
    if cached and recipe.train.cache.views == 1:
        return "train.cache.views is 1: only the original images"
    return None
