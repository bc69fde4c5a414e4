"""Description of a backbone and its stages, without TensorFlow."""

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
        name: its name in a recipe, e.g. ``block5``.
        layer: the last layer of the stage.
        stride: stride of its output in pixels of the image (rounded up at odd sizes).
        channels: channels of its output.
        windows: (kernel, stride, padding on each side) of the layers that change the size of its
            maps, in order; of a stage of residual blocks, one for all.
    """

    name: str
    layer: str
    stride: int
    channels: int
    windows: tuple[tuple[int, int, int], ...]

    def sides(self, side: int) -> list[int]:
        """Return the side of its maps after each window, for input maps of ``side``."""
        sides = []
        for kernel, stride, padding in self.windows:
            side = (side + 2 * padding - kernel) // stride + 1
            sides.append(side)
        return sides


@dataclass(frozen=True, slots=True)
class OriginalHead:
    """The classifier of a backbone's paper: hidden dense layers, then the classes.

    Attributes:
        hidden: units of the hidden layers on the flattened maps; empty for global average pooling.
        activation: activation of the hidden layers.
        dropout: dropout rate of each hidden layer's output.
        classes: number of classes of the paper's data set.
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
        image_size: height and width of its training images.
        preprocessing: mapping of 0..255 RGB to its input, see ``preprocessing.Preprocess``.
        stages: from the input to the head; the last one ends in the backbone's output.
        parameters: number of weights without the classifier, moving statistics included.
        licence: of the published ImageNet weights; empty if there are none.
        min_size: smallest height or width of its input.
        head: the classifier of its paper, ``original`` in a recipe.
        residual: whether it consists of residual blocks.
        norm_channels: smallest number of channels of a batch normalisation layer, which divides
            the others; 0 if it has none.
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
        """The head when a recipe names none: the paper's for networks without published weights."""
        return "original" if self.family == "classic" else "gap"

    def check_size(self, height: int, width: int, *, option: str = "data.image_size") -> None:
        """Check that images of this size leave the last stage at least one position.

        Args:
            height: of the images, pixels.
            width: of the images, pixels.
            option: name of the key or option that sets the size, for the message.

        Raises:
            UsageError: the size is too small.
        """
        if min(height, width) < self.min_size:
            raise UsageError(
                f"{self.name} needs images of at least {self.min_size} px, not {height}x{width}.",
                hint=f"set {option} to {self.min_size} or more; its own size is {self.image_size}",
            )

    def sides(self, side: int) -> list[int]:
        """Return the side of each stage's output maps, for images of ``side`` pixels."""
        sides = []
        for stage in self.stages:
            side = stage.sides(side)[-1]
            sides.append(side)
        return sides

    def smallest_maps(self, side: int) -> int:
        """Return the side of the last output maps of a convolution or residual block."""
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
