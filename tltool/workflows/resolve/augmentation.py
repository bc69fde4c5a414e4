"""What a recipe changes in its training images, once their number is known."""

from __future__ import annotations

from tltool.augment.spec import (
    AugmentSpec,
    AugMix,
    ColorJitter,
    FeatureSpec,
    RandAugment,
    WithProbability,
)
from tltool.recipe import augment_section as sections
from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.augmentation_policies import AUTO, OFF, PolicyChoice, Tree, policy_for

_UNMIRRORED = (
    "no mirror images: tiny grey pictures are often digits or letters, which have none, and "
    "augment.flip=horizontal makes them"
)

_OF_FEATURES = ("feature_mixup", "feature_noise", "feature_cutmix", "mixstyle")


def resolve_augmentation(
    section: AugmentSection, photos: int, *, signs: bool = False
) -> tuple[AugmentSection, PolicyChoice]:
    """Return the section without any `auto`, and which policy that is and why.

    Args:
        section: of a recipe.
        images: training images.
        signs: whether they look like digits or letters, which have no mirror image.
    """
    if section.policy != AUTO:
        return section, PolicyChoice(section.policy, "as the recipe says")
    choice = policy_for(photos)
    changed = {**section.model_dump(), "policy": choice.policy}
    if signs and section.flip == AUTO:
        changed["flip"] = "none"
        choice = PolicyChoice(choice.policy, f"{choice.why}; {_UNMIRRORED}")
    return AugmentSection.model_validate(changed), choice


def listed_changes(section: AugmentSection, *, photos: bool) -> str:
    """Return what a settled section changes with its amounts: `crop (min_area 0.6), …`.

    Args:
        section: of a recipe.
        images: whether images are changed, or cached features alone.
    """
    found = []
    for key in (*(OFF if photos else ()), *_OF_FEATURES):
        value = getattr(section, key)
        if key == "flip":
            found += [] if value == "none" else [f"flip {value.replace('_', ' ')}"]
        elif value is not None:
            amounts = ", ".join(f"{name} {amount:g}" for name, amount in value)
            found.append(f"{key} ({amounts})")
    return ", ".join(found)


def feature_spec(given: AugmentSection) -> FeatureSpec:
    """Return what a section changes in cached features, as plain data."""
    style = given.mixstyle
    return FeatureSpec(
        mixup=given.feature_mixup.alpha if given.feature_mixup else None,
        cutmix=given.feature_cutmix.alpha if given.feature_cutmix else None,
        noise=given.feature_noise.stddev if given.feature_noise else None,
        mixstyle=WithProbability(style.alpha, style.probability) if style else None,
    )


def augment_spec(given: AugmentSection) -> AugmentSpec:
    """Return a settled section as plain data."""
    crop = given.crop
    mixup, cutmix = given.mixup, given.cutmix
    cutout, grayscale = given.cutout, given.grayscale
    rotation, translation, scale, shear = (
        given.rotation,
        given.translation,
        given.scale,
        given.shear,
    )
    return AugmentSpec(
        flip=given.flip if given.flip != AUTO else "none",
        crop=(crop.min_area, crop.max_aspect) if isinstance(crop, sections.CropSection) else None,
        cutout=cutout.size if isinstance(cutout, sections.CutoutSection) else None,
        mixup=mixup.alpha if isinstance(mixup, sections.MixSection) else None,
        cutmix=cutmix.alpha if isinstance(cutmix, sections.MixSection) else None,
        rotation=rotation.degrees if isinstance(rotation, sections.RotationSection) else None,
        translation=(
            translation.fraction if isinstance(translation, sections.TranslationSection) else None
        ),
        scale=scale.amount if isinstance(scale, sections.ScaleSection) else None,
        shear=shear.degrees if isinstance(shear, sections.ShearSection) else None,
        color_jitter=_color_jitter(given),
        grayscale=(
            grayscale.probability if isinstance(grayscale, sections.GrayscaleSection) else None
        ),
        **_degradations(given),
        rand_augment=_rand_augment(given),
        aug_mix=_aug_mix(given),
        flip_probability=given.flip_probability,
        mix_probability=given.mix_probability,
        switch_probability=given.switch_probability,
    )


def single_transforms(section: AugmentSection, *, every: bool) -> dict[str, AugmentSpec]:
    """Return each change alone by its key, made to every image, in the order in which they come.

    Args:
        section: a settled section.
        every: also what the section leaves out, as the schema has it by default.
    """
    found: dict[str, Tree] = {}
    for key in OFF:
        value = getattr(section, key)
        if key == "flip":
            modes = ("horizontal", "vertical") if every else (value,)
            found |= {f"flip {mode}": {key: mode} for mode in modes if mode != "none"}
        elif every or value is not None:
            found[key] = {key: value.model_dump() if value else {}}
    return {
        name: augment_spec(AugmentSection.model_validate({"policy": "none", **tree})).always()
        for name, tree in found.items()
    }


def _color_jitter(given: AugmentSection) -> ColorJitter | None:
    jitter = given.color_jitter
    if not isinstance(jitter, sections.ColorJitterSection):
        return None
    return ColorJitter(
        jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue, jitter.probability
    )


def _degradations(given: AugmentSection) -> dict[str, WithProbability]:
    blur, noise, jpeg, grid_mask = given.blur, given.noise, given.jpeg, given.grid_mask
    found = {}
    if isinstance(blur, sections.BlurSection):
        found["blur"] = WithProbability(blur.sigma, blur.probability)
    if isinstance(noise, sections.NoiseSection):
        found["noise"] = WithProbability(noise.stddev, noise.probability)
    if isinstance(jpeg, sections.JpegSection):
        found["jpeg"] = WithProbability(100 - jpeg.min_quality, jpeg.probability)
    if isinstance(grid_mask, sections.GridMaskSection):
        found["grid_mask"] = WithProbability(grid_mask.hidden, grid_mask.probability)
    return found


def _rand_augment(given: AugmentSection) -> RandAugment | None:
    drawn = given.rand_augment
    if not isinstance(drawn, sections.RandAugmentSection):
        return None
    return RandAugment(drawn.operations, drawn.magnitude)


def _aug_mix(given: AugmentSection) -> AugMix | None:
    blend = given.aug_mix
    return (
        AugMix(blend.severity, blend.chains) if isinstance(blend, sections.AugMixSection) else None
    )
