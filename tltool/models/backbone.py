"""What is known of a backbone without building it, readable without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tltool.errors import UsageError, did_you_mean

PreprocessMode = Literal["caffe", "tf", "torch", "unit", "grey", "none"]
Family = Literal["vgg", "resnet", "resnet_v2", "classic", "test"]

WHOLE_NET = "all"
HEAD_ONLY = "head"


@dataclass(frozen=True, slots=True)
class Stage:
    """A named part of a backbone, ending in exactly one tensor.

    Attributes:
        name: what a recipe says, e.g. ``block5``.
        layer: the layer whose output ends the stage.
        stride: pixels of the image per step of that output (rounded up at odd sizes).
        channels: channels of that output.
        windows: (kernel, stride, zeros on each side) of what changes the size of its maps, in their
            order; of a stage of residual blocks, one for all.
    """

    name: str
    layer: str
    stride: int
    channels: int
    windows: tuple[tuple[int, int, int], ...]

    def sides(self, side: int) -> list[int]:
        """Return the side of its maps behind each window, for maps of ``side`` that enter it."""
        found = []
        for kernel, stride, zeros in self.windows:
            side = (side + 2 * zeros - kernel) // stride + 1
            found.append(side)
        return found


@dataclass(frozen=True, slots=True)
class OriginalHead:
    """The classifier that a backbone's paper puts on it: hidden dense layers, then the classes.

    Attributes:
        hidden: units of the hidden layers on all positions; without any, the mean over positions.
        activation: of the hidden layers.
        dropout: fraction dropped of each hidden layer's output.
        classes: of the paper's data set.
    """

    hidden: tuple[int, ...] = ()
    activation: Literal["relu", "tanh"] = "relu"
    dropout: float = 0.0
    classes: int = 1000


@dataclass(frozen=True, slots=True)
class Backbone:
    """A feature extractor without its classifier.

    Attributes:
        builder: a class name of ``keras.applications`` or a key of ``build.BUILDERS``.
        image_size: height and width it was trained at.
        preprocessing: what it expects of 0..255 RGB, see ``preprocessing.Preprocess``.
        stages: from the image side to the head; the last one ends in the backbone's output.
        parameters: all weights without the classifier, moving statistics included.
        licence: of the published ImageNet weights; empty where there are none.
        min_size: the smallest height or width that it accepts.
        head: the classifier of its paper, which a recipe calls ``original``.
        residual: whether it consists of residual blocks.
        norm_channels: fewest channels of its batch normalisations, which divide those of the
            others; 0 where it has none.
    """

    name: str
    family: Family
    builder: str
    image_size: int
    preprocessing: PreprocessMode
    stages: tuple[Stage, ...]
    parameters: int
    licence: str
    paper: str
    min_size: int = 32
    head: OriginalHead = OriginalHead()
    residual: bool = False
    norm_channels: int = 0

    @property
    def default_head(self) -> str:
        """The kind of head where a recipe names none: the paper's for nets without weights."""
        return "original" if self.family == "classic" else "gap"

    def check_size(self, height: int, width: int, *, told: str = "data.image_size") -> None:
        """Raise UsageError when images of this size leave the last stage without a position.

        Args:
            height: of the images, pixels.
            width: of the images, pixels.
            told: what the user sets it with.
        """
        if min(height, width) < self.min_size:
            raise UsageError(
                f"{self.name} needs images of at least {self.min_size} px, not {height}x{width}.",
                hint=f"set {told} to {self.min_size} or more; its own size is {self.image_size}",
            )

    def sides(self, side: int) -> list[int]:
        """Return the side of the maps that each stage ends in, for images of ``side`` pixels."""
        found = []
        for stage in self.stages:
            side = stage.sides(side)[-1]
            found.append(side)
        return found

    def smallest_maps(self, side: int) -> int:
        """Return the side of the last maps that a convolution or residual block puts out."""
        before = self.sides(side)[-2]
        return self.stages[-1].sides(before)[0]

    def stage(self, name: str) -> Stage:
        """Return the stage called ``name``; raise UsageError when there is none."""
        return self.stages[self._position(name)]

    def previous(self, name: str) -> Stage | None:
        """Return the stage before ``name``, or None when ``name`` is the first."""
        position = self._position(name)
        return self.stages[position - 1] if position else None

    def _position(self, name: str) -> int:
        names = [stage.name for stage in self.stages]
        if name not in names:
            known = ", ".join(names)
            message = f"{self.name} has no stage '{name}'.{did_you_mean(name, names)}"
            hint = f"its stages are {known}; '{WHOLE_NET}' and '{HEAD_ONLY}' are accepted too"
            raise UsageError(message, hint=hint)
        return names.index(name)
