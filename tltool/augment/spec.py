"""What can be augmented, as plain data. Imports no framework."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Flip = Literal["none", "horizontal", "vertical", "horizontal_and_vertical"]


@dataclass(frozen=True)
class WithProbability:
    """A change of drawn strength that some images undergo.

    Attributes:
        amount: the largest strength, in the change's own unit.
        probability: share of the images that are changed.
    """

    amount: float
    probability: float


@dataclass(frozen=True)
class ColorJitter:
    """Drawn factors of brightness, contrast and saturation, and a drawn turn of the hue.

    Attributes:
        brightness: factors lie within 1 ± this.
        contrast: factors lie within 1 ± this.
        saturation: factors lie within 1 ± this.
        hue: largest turn, as a share of the colour circle.
        probability: share of the images that are changed.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    probability: float


@dataclass(frozen=True)
class RandAugment:
    """Some of fourteen operations on every image.

    Attributes:
        operations: how many, one after the other.
        magnitude: strength of all of them, 0 to 10.
    """

    operations: int
    magnitude: float


@dataclass(frozen=True)
class AugMix:
    """A blend of the image with chains of operations on it.

    Attributes:
        severity: largest strength of an operation, 0 to 10.
        chains: how many are blended.
    """

    severity: float
    chains: int


@dataclass(frozen=True)
class AugmentSpec:
    """Which random changes a training image undergoes; ``None`` switches one off.

    Attributes:
        flip: mirror images to draw from.
        crop: (smallest share of the area kept, largest stretch of width against height).
        cutout: side of the largest hidden rectangle as a share of the image's side.
        mixup: both parameters of the Beta distribution of the blend.
        cutmix: both parameters of the Beta distribution of the pasted area.
        rotation: largest angle, degrees.
        translation: largest shift as a share of the image's side.
        scale: largest zoom less one, in or out.
        shear: largest angle of a slant, degrees.
        color_jitter: brightness, contrast, saturation and hue.
        noise: Gaussian noise; the amount is its standard deviation in grey levels of 255.
        blur: Gaussian blur; the amount is its standard deviation in pixels.
        grayscale: share of the images that lose their colours.
        jpeg: compression artefacts; the amount is 100 less the lowest quality.
        grid_mask: a hidden grid; the amount is the share of a unit's side that it hides.
        rand_augment: RandAugment.
        aug_mix: AugMix.
        flip_probability: share of the images that are mirrored, for each direction on its own.
        mix_probability: share of the batches that are blended.
        switch_probability: share of the blended batches that get cutmix, where both are on.
    """

    flip: Flip = "none"
    crop: tuple[float, float] | None = None
    cutout: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    rotation: float | None = None
    translation: float | None = None
    scale: float | None = None
    shear: float | None = None
    color_jitter: ColorJitter | None = None
    noise: WithProbability | None = None
    blur: WithProbability | None = None
    grayscale: float | None = None
    jpeg: WithProbability | None = None
    grid_mask: WithProbability | None = None
    rand_augment: RandAugment | None = None
    aug_mix: AugMix | None = None
    flip_probability: float = 0.5
    mix_probability: float = 1.0
    switch_probability: float = 0.5

    @property
    def mixes(self) -> bool:
        """Whether images are blended, so that labels become soft."""
        return (self.mixup is not None or self.cutmix is not None) and self.mix_probability > 0

    @property
    def identity(self) -> bool:
        """Whether nothing at all is changed."""
        return not self.mixes and self.unmixed() == AugmentSpec()

    def certain(self) -> AugmentSpec:
        """Return the same, made to every image instead of some."""
        always: dict[str, Any] = {
            name: replace(value, probability=1.0)
            for name, value in vars(self).items()
            if isinstance(value, WithProbability | ColorJitter)
        }
        if self.grayscale is not None:
            always["grayscale"] = 1.0
        return replace(self, flip_probability=1.0, mix_probability=1.0, **always)

    def unmixed(self) -> AugmentSpec:
        """Return the same without blends."""
        return replace(self, mixup=None, cutmix=None, mix_probability=1.0, switch_probability=0.5)

    def digest(self) -> str:
        """Return 16 hex digits that name this specification."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FeatureSpec:
    """Which random changes cached features undergo; ``None`` switches one off.

    Attributes:
        mixup: both parameters of the Beta distribution of the blend.
        cutmix: both parameters of the Beta distribution of the pasted area, on feature maps.
        noise: standard deviation of Gaussian noise, as a share of each channel's own.
        mixstyle: MixStyle on feature maps; the amount is both parameters of its Beta distribution.
    """

    mixup: float | None = None
    cutmix: float | None = None
    noise: float | None = None
    mixstyle: WithProbability | None = None

    @property
    def identity(self) -> bool:
        """Whether nothing at all is changed."""
        return self == FeatureSpec()

    @property
    def names(self) -> list[str]:
        """Keys of a recipe that switch on what is on."""
        keys = {
            "feature_mixup": self.mixup,
            "feature_cutmix": self.cutmix,
            "feature_noise": self.noise,
            "mixstyle": self.mixstyle,
        }
        return [key for key, value in keys.items() if value is not None]

    @property
    def needs_maps(self) -> list[str]:
        """The keys among them that only work on feature maps."""
        return [key for key in self.names if key in {"feature_cutmix", "mixstyle"}]

    def unmixed(self) -> FeatureSpec:
        """Return the same without blends of labels."""
        return replace(self, mixup=None, cutmix=None)
