"""Description of a backbone and its stages, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tltool.errors import UsageError, did_you_mean

PreprocessMode = Literal["caffe", "tf", "tf128", "torch", "lite", "unit", "grey", "none"]
Family = Literal[
    "vgg",
    "resnet",
    "resnet_v2",
    "efficientnet_lite",
    "efficientnet",
    "efficientnet_v2",
    "mobilenet",
    "nasnet",
    "densenet",
    "inception",
    "xception",
    "convnext",
    "classic",
    "test",
    "own",
    "hub",
]
Windows = tuple[tuple[int, int, int], ...]
"""(kernel, stride, padding on each side) of layers in order."""

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
        windows: of the layers that change the size of its maps, in order, or of others that change
            it equally; of a stage of residual blocks, one for all.
    """

    name: str
    layer: str
    stride: int
    channels: int
    windows: Windows

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
        hidden: units of the hidden layers; empty for global average pooling and one dense layer.
        activation: activation of the hidden layers.
        dropout: dropout rate of the input of each dense layer but the first hidden one.
        classes: number of classes of the paper's data set.
        pooled: whether the hidden layers take averaged maps instead of flattened ones.
    """

    hidden: tuple[int, ...] = ()
    activation: Literal["relu", "tanh", "hard_swish"] = "relu"
    dropout: float = 0.0
    classes: int = 1000
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The file of a backbone of the user's own.

    Attributes:
        path: a Keras model without its head.
        sha256: of the file.
        sides: side of each stage's output maps, for the images of the run.
    """

    path: Path
    sha256: str
    sides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Backbone:
    """A feature extractor without its classifier.

    Attributes:
        builder: a class name of ``keras.applications`` or a key of ``build.BUILDERS``.
        image_size: height and width of its training images.
        preprocessing: mapping of 0..255 RGB to its input, see ``preprocessing.preprocessed``.
        stages: from the input to the head; the last one ends in the backbone's output.
        parameters: number of weights without the classifier, moving statistics included.
        licence: of the published ImageNet weights; empty if there are none.
        min_size: smallest height or width of its input.
        head: the classifier of its paper, ``original`` in a recipe.
        residual: whether it consists of residual blocks.
        norm_channels: greatest common divisor of the channels of its batch normalisation layers;
            0 if it has none.
        multiply_adds: for one image of ``image_size``, without the classifier.
        file: of a backbone that is not in the registry; its stages have no windows.
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
    multiply_adds: int = 0
    file: ModelFile | None = None

    @property
    def identity(self) -> str:
        """A name that no other network has, for keys of caches."""
        if not self.file:
            return self.name
        return f"{self.name}-{self.file.sha256}-{self.preprocessing}"

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
        if self.file:
            return list(self.file.sides)
        sides = []
        for stage in self.stages:
            side = stage.sides(side)[-1]
            sides.append(side)
        return sides

    def smallest_maps(self, side: int) -> int:
        """Return the side of the last output maps of a convolution or residual block."""
        if self.file:
            return self.file.sides[-1]
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
