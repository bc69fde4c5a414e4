"""Augmentation settings as plain data. Imports no framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Flip = Literal["none", "horizontal", "vertical", "horizontal_and_vertical"]


@dataclass(frozen=True)
class WithProbability:
    """A transform of random strength that is applied with a probability.

    Attributes:
        amount: maximum strength, in the unit of the transform.
        probability: fraction of the images that are transformed.
    """

    amount: float
    probability: float


@dataclass(frozen=True)
class ColorJitter:
    """Random factors of brightness, contrast and saturation, and a random hue shift.

    Attributes:
        brightness: factors are drawn from 1 ± this.
        contrast: factors are drawn from 1 ± this.
        saturation: factors are drawn from 1 ± this.
        hue: largest shift, as a fraction of the colour circle.
        probability: fraction of the images that are transformed.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    probability: float


@dataclass(frozen=True)
class RandAugment:
    """Random operations, out of fourteen, on every image.

    Attributes:
        operations: number of operations, applied one after the other.
        magnitude: strength of all of them, 0 to 10.
    """

    operations: int
    magnitude: float


@dataclass(frozen=True)
class AugMix:
    """A blend of the image with chains of operations on it.

    Attributes:
        severity: maximum strength of an operation, 0 to 10.
        chains: number of chains.
    """

    severity: float
    chains: int


@dataclass(frozen=True, eq=False)
class OwnTransform:
    """A transform of the user's, which no recipe can describe.

    Attributes:
        name: of the layer or function.
        apply: (image float32 [H, W, 3] in 0…255, seed int32 [2]) to such an image.
        token: makes the digest unique: what two functions do cannot be compared.
        stateful: operations that draw numbers without the seed, or keep a state; with any, the
            result is not reproducible.
    """

    name: str
    apply: Callable[..., Any]
    token: str
    stateful: tuple[str, ...]


@dataclass(frozen=True)
class AugmentSpec:
    """Augmentation of training images; ``None`` switches a transform off.

    Attributes:
        flip: directions of random mirroring.
        crop: (smallest fraction of the area kept, largest change of the aspect ratio).
        cutout: side of the largest hidden rectangle as a fraction of the image's side.
        mixup: both parameters of the Beta distribution of the mixing coefficient.
        cutmix: both parameters of the Beta distribution of the pasted area.
        rotation: largest angle, degrees.
        translation: largest shift as a fraction of the image's side.
        scale: largest zoom factor minus one, in or out.
        shear: largest angle, degrees.
        color_jitter: brightness, contrast, saturation and hue.
        noise: Gaussian noise; the amount is its standard deviation, for pixel values 0…255.
        blur: Gaussian blur; the amount is its standard deviation in pixels.
        grayscale: fraction of the images that are converted to greyscale.
        jpeg: compression artefacts; the amount is 100 minus the lowest quality.
        grid_mask: a hidden grid; the amount is the hidden fraction of a cell's side.
        rand_augment: RandAugment.
        aug_mix: AugMix.
        flip_probability: probability of mirroring, independent for each direction.
        mix_probability: probability that a batch is blended.
        switch_probability: probability of cutmix in a blended batch, when both are on.
        own: a transform of the user's, after all others.
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
    own: OwnTransform | None = None

    @property
    def mixes(self) -> bool:
        """Whether images are blended, so that labels become soft."""
        return (self.mixup is not None or self.cutmix is not None) and self.mix_probability > 0

    @property
    def identity(self) -> bool:
        """Whether nothing is augmented."""
        return not self.mixes and self.unmixed() == AugmentSpec()

    @property
    def needs_cpu(self) -> bool:
        """Whether a transform only exists for a CPU; those before it run there too."""
        return self.jpeg is not None or self.own is not None

    def always(self) -> AugmentSpec:
        """Return the same with every transform applied to every image."""
        certain: dict[str, Any] = {
            name: replace(value, probability=1.0)
            for name, value in vars(self).items()
            if isinstance(value, WithProbability | ColorJitter)
        }
        if self.grayscale is not None:
            certain["grayscale"] = 1.0
        return replace(self, flip_probability=1.0, mix_probability=1.0, **certain)

    def unmixed(self) -> AugmentSpec:
        """Return the same without mixup and cutmix."""
        return replace(self, mixup=None, cutmix=None, mix_probability=1.0, switch_probability=0.5)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary that differs where images may be changed differently."""
        document = asdict(replace(self, own=None))
        del document["own"]
        return {**document, "own": self.own.token} if self.own else document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> AugmentSpec:
        """Return the spec that ``to_json`` wrote; none with a transform of the user's own.

        Examples:
            >>> spec = AugmentSpec("horizontal", crop=(0.8, 1.2))
            >>> AugmentSpec.from_json(spec.to_json()) == spec
            True
        """
        fields = dict(document)
        for name in _PARTS.keys() & {key for key, value in fields.items() if value is not None}:
            fields[name] = _PARTS[name](**fields[name])
        if fields["crop"] is not None:
            fields["crop"] = tuple(fields["crop"])
        return cls(**fields)


_PARTS: Mapping[str, Callable[..., Any]] = {
    "color_jitter": ColorJitter,
    **dict.fromkeys(("noise", "blur", "jpeg", "grid_mask"), WithProbability),
    "rand_augment": RandAugment,
    "aug_mix": AugMix,
}


@dataclass(frozen=True)
class FeatureSpec:
    """Augmentation of cached features; ``None`` switches a part off.

    Attributes:
        mixup: both parameters of the Beta distribution of the mixing coefficient.
        cutmix: both parameters of the Beta distribution of the pasted area, on feature maps.
        noise: standard deviation of Gaussian noise, relative to that of each channel.
        mixstyle: MixStyle on feature maps; the amount is both parameters of its Beta distribution.
    """

    mixup: float | None = None
    cutmix: float | None = None
    noise: float | None = None
    mixstyle: WithProbability | None = None

    @property
    def identity(self) -> bool:
        """Whether nothing is augmented."""
        return self == FeatureSpec()

    @property
    def names(self) -> list[str]:
        """Keys of a recipe that switch on the parts that are on."""
        keys = {
            "feature_mixup": self.mixup,
            "feature_cutmix": self.cutmix,
            "feature_noise": self.noise,
            "mixstyle": self.mixstyle,
        }
        return [key for key, value in keys.items() if value is not None]

    @property
    def needs_maps(self) -> list[str]:
        """Those of the keys that only work on feature maps."""
        return [key for key in self.names if key in {"feature_cutmix", "mixstyle"}]

    def unmixed(self) -> FeatureSpec:
        """Return the same without mixup and cutmix."""
        return replace(self, mixup=None, cutmix=None)
