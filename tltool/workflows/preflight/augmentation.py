"""Whether the phases of a recipe can make the changes of cached features that it sets."""

from __future__ import annotations

from collections.abc import Iterator

from tltool.augment.spec import FeatureSpec
from tltool.errors import UsageError
from tltool.workflows.resolve.run_spec import RunSpec


def augmentation_problems(spec: RunSpec) -> Iterator[UsageError]:
    """Yield why features are not changed: nothing is cached, or no phase trains on what is."""
    changes, train = spec.feature_changes, spec.recipe.train
    if changes.identity:
        return
    name, stage = f"augment.{changes.names[0]}", spec.first_trained_stage
    if train.cache.mode == "off" or spec.trains_whole_backbone:
        yield UsageError(
            f"{name} changes cached features, and this recipe caches none",
            hint=f"--set {name}=null, or --set train.cache=on with a later stage in "
            "train.finetune.unfreeze",
        )
    elif changes.needs_maps and stage is None:
        on_maps = f"augment.{changes.needs_maps[0]}"
        yield UsageError(
            f"{on_maps} changes the feature maps from which the fine-tune phase starts, and this "
            "recipe has no such phase",
            hint=f"--set {on_maps}=null, or --set train.finetune.epochs=5",
        )
    elif stage is None and not train.head.epochs:
        yield UsageError(
            f"{name} changes the features that the head trains on, and no phase trains it",
            hint="--set train.head.epochs=20",
        )


def feature_map_problems(changes: FeatureSpec, *, height: int, width: int) -> Iterator[UsageError]:
    """Yield that feature maps of this size at the cut are too small for the changes made to them.

    Args:
        changes: of cached features.
        height: of the feature maps, in positions.
        width: of the feature maps, in positions.
    """
    if changes.needs_maps and height * width == 1:
        yield UsageError(
            f"augment.{changes.needs_maps[0]} needs feature maps of more than 1x1 positions, which "
            "is what images of this size give at the cut",
            hint="a larger data.image_size, or an earlier stage in train.finetune.unfreeze",
        )
