"""The section `augment` of a recipe: every random change of training images and features."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tltool.recipe.augmentation_policies import AUTO, POLICIES, completed
from tltool.recipe.section import Count, Probability, Section

Auto = Literal["auto"]


class CropSection(Section):
    """Random crop, resized back (keras-cv RandomCropAndResize)."""

    min_area: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Smallest share of the image's area that a crop keeps."""
    max_aspect: Annotated[float, Field(ge=1, le=4)] = 1.25
    """Largest stretch of width against height, either way."""


class RotationSection(Section):
    """Random turn about the centre; what comes in from outside is mirrored."""

    degrees: Annotated[float, Field(gt=0, le=180)] = 15.0
    """Largest angle, either way."""


class TranslationSection(Section):
    """Random shift, across and down."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Largest shift as a share of the image's side."""


class ScaleSection(Section):
    """Random zoom about the centre, in and out alike."""

    amount: Annotated[float, Field(gt=0, le=2)] = 0.2
    """Zooms lie between 1 / (1 + amount) and 1 + amount."""


class ShearSection(Section):
    """Random slant about the centre, across and down."""

    degrees: Annotated[float, Field(gt=0, le=30)] = 10.0
    """Largest angle, either way."""


class ColorJitterSection(Section):
    """Random brightness, contrast, saturation and hue, as Pillow defines them."""

    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Factors lie within 1 ± this."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Factors lie within 1 ± this."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Factors lie within 1 ± this."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Largest turn, as a share of the colour circle."""
    probability: Probability = 1.0
    """Share of the images that are changed."""


class GrayscaleSection(Section):
    """Some images lose their colours."""

    probability: Probability = 0.1
    """Share of the images that are changed."""


class RandAugmentSection(Section):
    """RandAugment (Cubuk et al. 2020): some of fourteen operations on every image."""

    operations: Annotated[int, Field(ge=1, le=8)] = 2
    """Operations per image, drawn evenly."""
    magnitude: Annotated[float, Field(ge=0, le=10)] = 7.0
    """Strength of all of them."""


class AugMixSection(Section):
    """AugMix (Hendrycks et al. 2020), without its loss: chains of operations, blended."""

    severity: Annotated[float, Field(gt=0, le=10)] = 3.0
    """Largest strength of an operation."""
    chains: Annotated[int, Field(ge=1, le=8)] = 3
    """Chains that are blended."""


class BlurSection(Section):
    """Random Gaussian blur."""

    sigma: Annotated[float, Field(gt=0, le=20)] = 1.5
    """Largest standard deviation of the filter, in pixels of the network's input."""
    probability: Probability = 0.5
    """Share of the images that are changed."""


class NoiseSection(Section):
    """Random Gaussian noise on every value."""

    deviation: Annotated[float, Field(gt=0, le=128)] = 12.0
    """Largest standard deviation, in grey levels of 255."""
    probability: Probability = 0.5
    """Share of the images that are changed."""


class JpegSection(Section):
    """Artefacts of JPEG compression."""

    min_quality: Annotated[int, Field(ge=1, le=99)] = 40
    """Lowest quality, of 100."""
    probability: Probability = 0.5
    """Share of the images that are changed."""


class CutoutSection(Section):
    """One grey rectangle per image (keras-cv RandomCutout; DeVries and Taylor 2017)."""

    size: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Side of the largest rectangle as a share of the image's side."""


class GridMaskSection(Section):
    """GridMask (Chen et al. 2020): a square hidden in every unit of a turned grid."""

    hidden: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Side of the hidden squares as a share of the unit's side (1 - r in the paper)."""
    probability: Probability = 0.5
    """Share of the images that are changed."""


class MixSection(Section):
    """Blend of two images and their labels."""

    alpha: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Both parameters of the Beta distribution from which the blend is drawn."""


class FeatureNoiseSection(Section):
    """Gaussian noise on cached features."""

    deviation: Annotated[float, Field(gt=0, le=5)] = 0.1
    """Its standard deviation, as a share of that of each channel in the batch."""


class MixStyleSection(Section):
    """MixStyle (Zhou et al. 2021): blended channel statistics where fine-tuning cuts the net."""

    alpha: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Both parameters of the Beta distribution from which the blend is drawn."""
    probability: Probability = 0.5
    """Share of the batches that are changed."""


class AugmentSection(Section):
    """Random changes of training images. null switches one off, auto leaves it to the policy."""

    policy: Literal["auto", "none", "light", "medium", "strong", "fine_grained", "documents"] = AUTO
    """Which changes are made where a key does not say it: docs/augmentation.md lists them. auto:
    light, or medium from 5,000 training images on. In a file or with --set it takes the place of
    all that the base says about augmentation."""
    flip: Literal["auto", "none", "horizontal", "vertical", "horizontal_and_vertical"] = AUTO
    """Mirror images that are as good as the original."""
    flip_probability: Probability = 0.5
    """Share of the images that are mirrored, for each direction on its own."""
    crop: CropSection | Auto | None = AUTO
    """Random crop."""
    rotation: RotationSection | Auto | None = AUTO
    """Random turn."""
    translation: TranslationSection | Auto | None = AUTO
    """Random shift."""
    scale: ScaleSection | Auto | None = AUTO
    """Random zoom."""
    shear: ShearSection | Auto | None = AUTO
    """Random slant."""
    color_jitter: ColorJitterSection | Auto | None = AUTO
    """Random brightness, contrast, saturation and hue."""
    grayscale: GrayscaleSection | Auto | None = AUTO
    """Random loss of colours."""
    rand_augment: RandAugmentSection | Auto | None = AUTO
    """RandAugment (Cubuk et al. 2020)."""
    aug_mix: AugMixSection | Auto | None = AUTO
    """AugMix (Hendrycks et al. 2020)."""
    blur: BlurSection | Auto | None = AUTO
    """Random blur."""
    noise: NoiseSection | Auto | None = AUTO
    """Random noise."""
    jpeg: JpegSection | Auto | None = AUTO
    """Random compression."""
    cutout: CutoutSection | Auto | None = AUTO
    """Random rectangle hidden."""
    grid_mask: GridMaskSection | Auto | None = AUTO
    """GridMask (Chen et al. 2020)."""
    mixup: MixSection | Auto | None = AUTO
    """Mixup (Zhang et al. 2018). It needs many images: a few thousand or more."""
    cutmix: MixSection | Auto | None = AUTO
    """CutMix (Yun et al. 2019)."""
    mix_probability: Probability = 1.0
    """Share of the batches that mixup or cutmix blends."""
    switch_probability: Probability = 0.5
    """Share of the blended batches that get cutmix, where mixup is on too."""
    mix_off_epochs: Count = 0
    """Last epochs of the last phase without mixup and cutmix. On cached features these see the
    images as they are."""

    feature_mixup: MixSection | None = None
    """Mixup of cached features (manifold mixup; Verma et al. 2019), in head and fine-tune phase."""
    feature_cutmix: MixSection | None = None
    """CutMix of the feature maps that the fine-tune phase starts from."""
    feature_noise: FeatureNoiseSection | None = None
    """Gaussian noise on cached features, in head and fine-tune phase."""
    mixstyle: MixStyleSection | None = None
    """MixStyle at the cut."""

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, given: Any) -> Any:
        known = isinstance(given, dict) and given.get("policy", AUTO) in POLICIES
        return completed(given) if known else given
