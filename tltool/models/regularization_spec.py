"""What a recipe may do inside a backbone, known without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tltool.errors import UsageError
from tltool.models.backbone_registry import Backbone


@dataclass(frozen=True, slots=True)
class Regularize:
    """What is done to a backbone.

    Attributes:
        stochastic_depth: probability that the last residual block is skipped.
        drop_block: rate and side of DropBlock; None for none.
        norm: batch, sync_batch, layer, instance, group or none.
        groups: of group normalisation; None for 32, or the most below that divide the channels.
    """

    stochastic_depth: float = 0.0
    drop_block: tuple[float, int] | None = None
    norm: str = "batch"
    groups: int | None = None

    @property
    def nothing(self) -> bool:
        """Whether the backbone stays as it is."""
        return not self.stochastic_depth and self.drop_block is None and self.norm == "batch"


NOTHING = Regularize()


def check_regularization(
    backbone: Backbone, settings: Regularize, *, side: int, pretrained: bool
) -> None:
    """Raise the first of ``regularization_problems``.

    Raises:
        UsageError: there is one.
    """
    for problem in regularization_problems(backbone, settings, side=side, pretrained=pretrained):
        raise problem


def regularization_problems(
    backbone: Backbone, settings: Regularize, *, side: int, pretrained: bool
) -> Iterator[UsageError]:
    """Yield what of the regularisation a backbone has no place for.

    That is: no residual blocks or no normalisation, DropBlock's squares larger than a feature map,
    groups that do not divide the channels, another normalisation under pretrained weights.

    Args:
        backbone: its registry entry.
        settings: what is done.
        side: of the images, the shorter one, pixels.
        pretrained: whether pretrained weights will be read into it.
    """
    if settings.stochastic_depth and not backbone.residual:
        yield UsageError(
            f"stochastic depth skips residual blocks, and {backbone.name} has none",
            hint="choose a ResNet, or set model.regularize.stochastic_depth to 0",
        )
    if settings.drop_block and side >= backbone.min_size:
        yield from _of_drop_block(backbone, settings.drop_block[1], side)
    if settings.norm != "batch":
        yield from _of_norm(backbone, settings, pretrained=pretrained)


def _of_drop_block(backbone: Backbone, block: int, side: int) -> Iterator[UsageError]:
    maps = backbone.smallest_maps(side)
    if block > maps:
        yield UsageError(
            f"DropBlock's squares of {block} x {block} do not fit into the {maps} x {maps} maps "
            f"of stage {backbone.stages[-1].name} of {backbone.name}, whose images have {side} px",
            hint=f"set model.regularize.drop_block.size to {maps} or less, or data.image_size to "
            "more",
        )


def _of_norm(backbone: Backbone, settings: Regularize, *, pretrained: bool) -> Iterator[UsageError]:
    norm, groups, fewest = settings.norm, settings.groups, backbone.norm_channels
    if not fewest:
        yield UsageError(
            f"{backbone.name} has no normalisation that model.regularize.norm could replace",
            hint="leave model.regularize.norm at batch, or choose a ResNet",
        )
        return
    if pretrained and norm != "sync_batch":
        yield UsageError(
            f"the pretrained weights of {backbone.name} are for batch normalisation, not {norm}",
            hint="set model.weights to random, or model.regularize.norm to batch",
        )
    if norm == "group" and groups and fewest % groups:
        yield UsageError(
            f"{groups} groups do not divide the {fewest} channels of {backbone.name}'s first "
            "layers",
            hint="set model.norm_groups to a number that divides them, or to null",
        )
