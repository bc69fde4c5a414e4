"""The section `augment` of a recipe: random transforms of training images and features."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tltool.recipe.augmentation_policies import AUTO, POLICIES, fill_from_policy
from tltool.recipe.section import Count, Probability, Section

Auto = Literal["auto"]


class CropSection(Section):
    """Random crop, resized back (keras-cv RandomCropAndResize)."""

    min_area: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Smallest fraction of the image's area that a crop keeps."""
    max_aspect: Annotated[float, Field(ge=1, le=4)] = 1.25
    """Largest change of the aspect ratio, in either direction."""


class RotationSection(Section):
    """Random rotation about the centre; beyond its border the image is reflected."""

    degrees: Annotated[float, Field(gt=0, le=180)] = 15.0
    """Largest angle, in either direction."""


class TranslationSection(Section):
    """Random horizontal and vertical shift."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Largest shift as a fraction of the image's side."""


class ScaleSection(Section):
    """Random zoom about the centre, in and out equally often."""

    amount: Annotated[float, Field(gt=0, le=2)] = 0.2
    """Zoom factors lie between 1 / (1 + amount) and 1 + amount."""


class ShearSection(Section):
    """Random horizontal and vertical shear about the centre."""

    degrees: Annotated[float, Field(gt=0, le=30)] = 10.0
    """Largest angle, in either direction."""


class ColorJitterSection(Section):
    """Random brightness, contrast, saturation and hue, as Pillow defines them."""

    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Factors are drawn from 1 ± this."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Factors are drawn from 1 ± this."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Factors are drawn from 1 ± this."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Largest hue shift, as a fraction of the colour circle."""
    probability: Probability = 1.0
    """Fraction of the images that are transformed."""


class GrayscaleSection(Section):
    """Some images are converted to greyscale."""

    probability: Probability = 0.1
    """Fraction of the images that are transformed."""


class RandAugmentSection(Section):
    """RandAugment (Cubuk et al. 2020): random operations, out of fourteen, on every image."""

    operations: Annotated[int, Field(ge=1, le=8)] = 2
    """Operations per image, drawn uniformly."""
    magnitude: Annotated[float, Field(ge=0, le=10)] = 7.0
    """Strength of all operations."""


class AugMixSection(Section):
    """AugMix (Hendrycks et al. 2020) without its consistency loss: blended operation chains."""

    severity: Annotated[float, Field(gt=0, le=10)] = 3.0
    """Maximum strength of an operation."""
    chains: Annotated[int, Field(ge=1, le=8)] = 3
    """Number of chains that are blended."""


class BlurSection(Section):
    """Random Gaussian blur."""

    sigma: Annotated[float, Field(gt=0, le=20)] = 1.5
    """Largest standard deviation of the kernel, in pixels of the network's input."""
    probability: Probability = 0.5
    """Fraction of the images that are transformed."""


class NoiseSection(Section):
    """Random Gaussian noise on every pixel value."""

    stddev: Annotated[float, Field(gt=0, le=128)] = 12.0
    """Largest standard deviation, for pixel values of 0 to 255."""
    probability: Probability = 0.5
    """Fraction of the images that are transformed."""


class JpegSection(Section):
    """JPEG compression artefacts."""

    min_quality: Annotated[int, Field(ge=1, le=99)] = 40
    """Lowest quality, out of 100."""
    probability: Probability = 0.5
    """Fraction of the images that are transformed."""


class CutoutSection(Section):
    """One grey rectangle per image (keras-cv RandomCutout; DeVries and Taylor 2017)."""

    size: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Side of the largest rectangle as a fraction of the image's side."""


class GridMaskSection(Section):
    """GridMask (Chen et al. 2020): a hidden square in every cell of a rotated grid."""

    hidden: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Side of the hidden squares as a fraction of the cell's side (1 - r in the paper)."""
    probability: Probability = 0.5
    """Fraction of the images that are transformed."""


class MixSection(Section):
    """A blend of two images and their labels."""

    alpha: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Both parameters of the Beta distribution of the mixing coefficient."""


class FeatureNoiseSection(Section):
    """Gaussian noise on cached features."""

    stddev: Annotated[float, Field(gt=0, le=5)] = 0.1
    """Its standard deviation, relative to that of each channel in the batch."""


class MixStyleSection(Section):
    """MixStyle (Zhou et al. 2021): mixed channel statistics of the cached feature maps."""

    alpha: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Both parameters of the Beta distribution of the mixing coefficient."""
    probability: Probability = 0.5
    """Fraction of the batches that are transformed."""


class AugmentSection(Section):
    """Augmentation of training images. null switches a transform off, auto follows the policy."""

    policy: Literal["auto", "none", "light", "medium", "strong", "fine_grained", "documents"] = AUTO
    """Default for every transform that no key sets: docs/augmentation.md lists the policies. auto:
    light, or medium from 5,000 training images. A policy in a file or with --set replaces the whole
    augmentation of the base recipe."""
    flip: Literal["auto", "none", "horizontal", "vertical", "horizontal_and_vertical"] = AUTO
    """Random mirroring, in directions that do not change the class."""
    flip_probability: Probability = 0.5
    """Probability of mirroring, independent for each direction."""
    crop: CropSection | Auto | None = AUTO
    """Random crop."""
    rotation: RotationSection | Auto | None = AUTO
    """Random rotation."""
    translation: TranslationSection | Auto | None = AUTO
    """Random shift."""
    scale: ScaleSection | Auto | None = AUTO
    """Random zoom."""
    shear: ShearSection | Auto | None = AUTO
    """Random shear."""
    color_jitter: ColorJitterSection | Auto | None = AUTO
    """Random brightness, contrast, saturation and hue."""
    grayscale: GrayscaleSection | Auto | None = AUTO
    """Random conversion to greyscale."""
    rand_augment: RandAugmentSection | Auto | None = AUTO
    """RandAugment (Cubuk et al. 2020)."""
    aug_mix: AugMixSection | Auto | None = AUTO
    """AugMix (Hendrycks et al. 2020)."""
    blur: BlurSection | Auto | None = AUTO
    """Random Gaussian blur."""
    noise: NoiseSection | Auto | None = AUTO
    """Random Gaussian noise."""
    jpeg: JpegSection | Auto | None = AUTO
    """Random JPEG compression."""
    cutout: CutoutSection | Auto | None = AUTO
    """One hidden rectangle per image."""
    grid_mask: GridMaskSection | Auto | None = AUTO
    """GridMask (Chen et al. 2020)."""
    mixup: MixSection | Auto | None = AUTO
    """Mixup (Zhang et al. 2018). It needs many images: a few thousand or more."""
    cutmix: MixSection | Auto | None = AUTO
    """CutMix (Yun et al. 2019)."""
    mix_probability: Probability = 1.0
    """Probability that a batch is blended by mixup or cutmix."""
    switch_probability: Probability = 0.5
    """Probability of cutmix instead of mixup in a blended batch, when both are on."""
    mix_off_epochs: Count = 0
    """Number of final epochs of the last phase without mixup and cutmix. On cached features they
    use the original images."""

    feature_mixup: MixSection | None = None
    """Mixup of cached features (manifold mixup; Verma et al. 2019), in head and fine-tune phase."""
    feature_cutmix: MixSection | None = None
    """CutMix of the cached feature maps, in the fine-tune phase."""
    feature_noise: FeatureNoiseSection | None = None
    """Gaussian noise on cached features, in head and fine-tune phase."""
    mixstyle: MixStyleSection | None = None
    """MixStyle on the cached feature maps, in the fine-tune phase."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_policy(cls, section: Any) -> Any:
        known = isinstance(section, dict) and section.get("policy", AUTO) in POLICIES
        return fill_from_policy(section) if known else section
