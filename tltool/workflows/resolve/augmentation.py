"""What a recipe changes in its training images, once their number is known."""

from __future__ import annotations

from typing import Any

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
    section: AugmentSection, count: int, *, looks_like_text: bool = False
) -> tuple[AugmentSection, PolicyChoice]:
    """Return the section without any `auto`, and which policy that is and why.

    Args:
        section: of a recipe.
        count: number of training images.
        looks_like_text: whether they may be digits or letters, which have no mirror image.
    """
    if section.policy != AUTO:
        return section, PolicyChoice(section.policy, "as the recipe says")
    choice = policy_for(count)
    changed = {**section.model_dump(), "policy": choice.policy}
    if looks_like_text and section.flip == AUTO:
        changed["flip"] = "none"
        choice = PolicyChoice(choice.policy, f"{choice.why}; {_UNMIRRORED}")
    return AugmentSection.model_validate(changed), choice


def listed_changes(section: AugmentSection, *, images: bool) -> str:
    """Return the changes of a resolved section with their amounts: `crop (min_area 0.6), …`.

    Args:
        section: of a recipe.
        images: whether images are changed, or cached features alone.
    """
    changes = []
    for key in (*(OFF if images else ()), *_OF_FEATURES):
        value = getattr(section, key)
        if key == "flip":
            changes += [] if value == "none" else [f"flip {value.replace('_', ' ')}"]
        elif value is not None:
            amounts = ", ".join(f"{name} {amount:g}" for name, amount in value)
            changes.append(f"{key} ({amounts})")
    return ", ".join(changes)


def feature_spec(section: AugmentSection) -> FeatureSpec:
    """Return what a section changes in cached features, as plain data."""
    style = section.mixstyle
    return FeatureSpec(
        mixup=section.feature_mixup.alpha if section.feature_mixup else None,
        cutmix=section.feature_cutmix.alpha if section.feature_cutmix else None,
        noise=section.feature_noise.stddev if section.feature_noise else None,
        mixstyle=WithProbability(style.alpha, style.probability) if style else None,
    )


def augment_spec(section: AugmentSection) -> AugmentSpec:
    """Return a resolved section as plain data."""
    crop = section.crop
    mixup, cutmix = section.mixup, section.cutmix
    cutout, grayscale = section.cutout, section.grayscale
    rotation, translation, scale, shear = (
        section.rotation,
        section.translation,
        section.scale,
        section.shear,
    )
    return AugmentSpec(
        flip=section.flip if section.flip != AUTO else "none",
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
        color_jitter=_color_jitter(section),
        grayscale=(
            grayscale.probability if isinstance(grayscale, sections.GrayscaleSection) else None
        ),
        **_degradations(section),
        rand_augment=_rand_augment(section),
        aug_mix=_aug_mix(section),
        flip_probability=section.flip_probability,
        mix_probability=section.mix_probability,
        switch_probability=section.switch_probability,
    )


def single_transforms(section: AugmentSection, *, every: bool) -> dict[str, AugmentSpec]:
    """Return each change alone by its key, made to every image, in the order in which they come.

    Args:
        section: a resolved section.
        every: also what the section leaves out, as the schema has it by default.
    """
    trees: dict[str, Tree] = {}
    for key in OFF:
        value = getattr(section, key)
        if key == "flip":
            modes = ("horizontal", "vertical") if every else (value,)
            trees |= {f"flip {mode}": {key: mode} for mode in modes if mode != "none"}
        elif every or value is not None:
            trees[key] = {key: value.model_dump() if value else {}}
    return {
        name: augment_spec(AugmentSection.model_validate({"policy": "none", **tree})).always()
        for name, tree in trees.items()
    }


def _color_jitter(section: AugmentSection) -> ColorJitter | None:
    jitter = section.color_jitter
    if not isinstance(jitter, sections.ColorJitterSection):
        return None
    return ColorJitter(
        jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue, jitter.probability
    )


def _degradations(section: AugmentSection) -> dict[str, Any]:
    blur, noise, jpeg, grid_mask = section.blur, section.noise, section.jpeg, section.grid_mask
    degradations: dict[str, WithProbability] = {}
    if isinstance(blur, sections.BlurSection):
        degradations["blur"] = WithProbability(blur.sigma, blur.probability)
    if isinstance(noise, sections.NoiseSection):
        degradations["noise"] = WithProbability(noise.stddev, noise.probability)
    if isinstance(jpeg, sections.JpegSection):
        degradations["jpeg"] = WithProbability(100 - jpeg.min_quality, jpeg.probability)
    if isinstance(grid_mask, sections.GridMaskSection):
        degradations["grid_mask"] = WithProbability(grid_mask.hidden, grid_mask.probability)
    return degradations


def _rand_augment(section: AugmentSection) -> RandAugment | None:
    drawn = section.rand_augment
    if not isinstance(drawn, sections.RandAugmentSection):
        return None
    return RandAugment(drawn.operations, drawn.magnitude)


def _aug_mix(section: AugmentSection) -> AugMix | None:
    blend = section.aug_mix
    return (
        AugMix(blend.severity, blend.chains) if isinstance(blend, sections.AugMixSection) else None
    )
