"""Regularization settings of a backbone and their validity, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tltool.errors import UsageError
from tltool.models.backbone_registry import Backbone


@dataclass(frozen=True, slots=True)
class RegularizationSpec:
    """Regularization inside a backbone.

    Attributes:
        stochastic_depth: probability that the last residual block is skipped.
        drop_block: rate and size of DropBlock; None to leave it out.
        norm: batch, sync_batch, layer, instance, group or none.
        groups: of group normalisation; None for 32, or the largest divisor of the channels below.
    """

    stochastic_depth: float = 0.0
    drop_block: tuple[float, int] | None = None
    norm: str = "batch"
    groups: int | None = None

    @property
    def identity(self) -> bool:
        """Whether the backbone is left unchanged."""
        return not self.stochastic_depth and self.drop_block is None and self.norm == "batch"


NO_REGULARIZATION = RegularizationSpec()


def check_regularization(
    backbone: Backbone, settings: RegularizationSpec, *, side: int, pretrained: bool
) -> None:
    """Raise the first of ``regularization_problems``.

    Raises:
        UsageError: there is one.
    """
    for problem in regularization_problems(backbone, settings, side=side, pretrained=pretrained):
        raise problem


def regularization_problems(
    backbone: Backbone, settings: RegularizationSpec, *, side: int, pretrained: bool
) -> Iterator[UsageError]:
    """Yield an error for each part of the regularization that does not apply to a backbone.

    Causes: no residual blocks, no normalisation, DropBlock squares larger than a feature map,
    groups that do not divide the channels, another normalisation with pretrained weights.

    Args:
        backbone: its registry entry.
        settings: the regularization.
        side: shorter side of the images, pixels.
        pretrained: whether pretrained weights will be loaded.
    """
    if backbone.file and not settings.identity:
        yield UsageError(
            f"model.regularization changes networks of the registry, and {backbone.name} is your "
            "own",
            hint="leave it out, or build these layers into your network",
        )
        return
    if settings.stochastic_depth and not backbone.residual:
        yield UsageError(
            f"stochastic depth skips residual blocks, and {backbone.name} has none",
            hint="choose a ResNet, or set model.regularization.stochastic_depth to 0",
        )
    if settings.drop_block and side >= backbone.min_size:
        yield from _drop_block_problems(backbone, settings.drop_block[1], side)
    if settings.norm != "batch":
        yield from _norm_problems(backbone, settings, pretrained=pretrained)


def _drop_block_problems(backbone: Backbone, block: int, side: int) -> Iterator[UsageError]:
    maps = backbone.smallest_maps(side)
    if block > maps:
        yield UsageError(
            f"DropBlock squares of {block} x {block} do not fit into the {maps} x {maps} maps "
            f"of stage {backbone.stages[-1].name} of {backbone.name}, for images of {side} px",
            hint=f"set model.regularization.drop_block.size to {maps} or less, or increase "
            "data.image_size",
        )


def _norm_problems(
    backbone: Backbone, settings: RegularizationSpec, *, pretrained: bool
) -> Iterator[UsageError]:
    norm, groups, channels = settings.norm, settings.groups, backbone.norm_channels
    if not channels:
        yield UsageError(
            f"{backbone.name} has no batch normalisation that model.regularization.norm could "
            "replace",
            hint="leave model.regularization.norm at batch, or choose a ResNet",
        )
        return
    if pretrained and norm != "sync_batch":
        yield UsageError(
            f"the pretrained weights of {backbone.name} are for batch normalisation, not {norm}",
            hint="set model.weights to random, or model.regularization.norm to batch",
        )
    if norm == "group" and groups and channels % groups:
        yield UsageError(
            f"{groups} groups do not divide the {channels} channels of {backbone.name}'s first "
            "layers",
            hint="set model.norm_groups to a number that divides them, or to null",
        )
