"""Whether the network of a recipe can be built, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tltool.errors import UsageError
from tltool.models.regularization_spec import regularization_problems
from tltool.weights.published import PUBLISHED
from tltool.workflows.preflight.augmentation_checks import feature_map_problems
from tltool.workflows.resolve.run_spec import RunSpec

HIDDEN_LAYER = ("mlp", "flatten")  # heads with one
_RECIPES = {"alexnet": "alexnet_classic", "digits_cnn": "digit_recognizer"}


def network_problems(spec: RunSpec) -> Iterator[UsageError]:
    """Yield what the network cannot do, weights aside.

    That is: images too small for the backbone, regularisation or a head that this network cannot
    have, feature maps too small for what changes them.
    """
    yield from _size_problems(spec)
    yield from _regularization_problems(spec, pretrained=False)
    yield from _head_problems(spec)
    yield from _cut_problems(spec)


def weights_problems(spec: RunSpec, weights: Path | None) -> Iterator[UsageError]:
    """Yield what is wrong with the pretrained weights: there are none, or they do not fit.

    Args:
        spec: the run.
        weights: a file of pretrained weights that replaces the recipe's.
    """
    source = spec.recipe.model.weights
    if weights is None and source == "random":
        return
    yield from _regularization_problems(spec, pretrained=True)
    file = weights or (Path(source) if source != "imagenet" else None)
    if file is not None and not file.is_file():
        from tltool.weights.weights_formats import missing_weights  # imports NumPy

        yield missing_weights(file)
    if spec.backbone.file or weights is not None or source != "imagenet":
        return
    if spec.backbone.name not in PUBLISHED:
        yield UsageError(
            f"{spec.backbone.name} has no pretrained weights.", hint=_hint_from_scratch(spec)
        )


def _size_problems(spec: RunSpec) -> Iterator[UsageError]:
    try:
        spec.backbone.check_size(spec.decode.height, spec.decode.width)
    except UsageError as error:
        yield error


def _regularization_problems(spec: RunSpec, *, pretrained: bool) -> Iterator[UsageError]:
    return regularization_problems(
        spec.backbone, spec.regularization, side=spec.decode.height, pretrained=pretrained
    )


def _cut_problems(spec: RunSpec) -> Iterator[UsageError]:
    backbone, stage, side = spec.backbone, spec.first_trained_stage, spec.decode.height
    before = backbone.previous(stage) if stage else None
    if before and side >= backbone.min_size:
        cut = backbone.sides(side)[backbone.stages.index(before)]
        yield from feature_map_problems(spec.feature_changes, height=cut, width=cut)


def _hint_from_scratch(spec: RunSpec) -> str:
    if spec.trains_whole_backbone:
        return "this recipe trains all of it: set model.weights to random"
    name = spec.backbone.name
    known = _RECIPES.get(name)
    return f"train it from scratch: --recipe {known or f'scratch --backbone {name}'}"


def _head_problems(spec: RunSpec) -> Iterator[UsageError]:
    head, groups = spec.head, spec.recipe.model.norm_groups
    if head.kind == "gap_conv" and head.dropout_kind == "dropconnect":
        yield UsageError(
            "DropConnect drops weights of dense layers, and the head gap_conv has none",
            hint="set model.head.kind to gap, or model.head.dropout_kind to another",
        )
    if head.kind == "flatten" and head.norm == "instance":
        yield UsageError(
            "the head flatten has no instance normalisation: it has no positions to average",
            hint="set model.head.norm to batch, layer, group or none",
        )
    grouped = head.kind in HIDDEN_LAYER and head.norm == "group"
    if grouped and groups and head.hidden_units % groups:
        yield UsageError(
            f"{groups} groups do not divide the {head.hidden_units} hidden units of the head",
            hint="set model.norm_groups to a number that divides them, or to null",
        )
