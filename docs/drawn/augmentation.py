"""Pictures of augmentation: transforms of two images by tltool's own pipeline.

The images are china.jpg and flower.jpg of scikit-learn (danielbuechele and vultilion on Flickr,
CC BY 2.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_image

from drawn.sheet import BLUE, GREEN, INK, ORANGE, RED, label, sheet, show
from tltool.augment.augmenter import Augmenter
from tltool.augment.feature_space import augment_features
from tltool.augment.rand_augment import apply_one, rand_augment_operations
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import (
    AugmentSpec,
    AugMix,
    ColorJitter,
    FeatureSpec,
    RandAugment,
    WithProbability,
)
from tltool.recipe.load import validate
from tltool.workflows.resolve.augmentation import augment_spec

SIDE = 128
_CORNERS = {"flower.jpg": (0, 110), "china.jpg": (0, 150)}  # of the square, y and x


def sample(name: str) -> np.ndarray:
    """Return a square of a sample image, float32 [SIDE, SIDE, 3]."""
    y, x = _CORNERS[name]
    square = Image.fromarray(load_sample_image(name)[y : y + 427, x : x + 427])
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)


def augmented(
    originals: Sequence[np.ndarray], spec: AugmentSpec, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return images [B, H, W, 3] and their labels [B, 2] after augmentation of one batch.

    Images at even positions belong to the first class, the others to the second.
    """
    count = len(originals)
    labels = np.tile(np.eye(2, dtype=np.float32), (count // 2, 1))
    examples = (np.arange(count), np.stack(originals), labels)
    batches = Augmenter(spec, (SIDE, SIDE)).batches(
        tf.data.Dataset.from_tensor_slices(examples), key=tf.constant([seed, 1]), batch_size=count
    )
    _, images, mixed = next(iter(batches))
    return images.numpy(), mixed.numpy()


def draw_augmentation() -> None:
    """Draw every picture of this module."""
    _transforms("geometry", _GEOMETRY)
    _transforms("colours", _COLOURS)
    _transforms("degradations", _DEGRADATIONS)
    _transforms("occlusion", _OCCLUSION)
    _operations()
    _chains()
    _blends()
    _shares()
    _policies()
    _features()


def _jitter(**only: float) -> AugmentSpec:
    none = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    return AugmentSpec(color_jitter=ColorJitter(**{**none, **only}, probability=1.0))


_GEOMETRY = {
    "original": AugmentSpec(),
    "flip": AugmentSpec(flip="horizontal"),
    "crop\nmin_area 0.25": AugmentSpec(crop=(0.25, 1.33)),
    "rotation\n30 degrees": AugmentSpec(rotation=30),
    "translation\nfraction 0.3": AugmentSpec(translation=0.3),
    "scale\namount 0.6": AugmentSpec(scale=0.6),
    "shear\n20 degrees": AugmentSpec(shear=20),
}
_COLOURS = {
    "original": AugmentSpec(),
    "brightness 0.6": _jitter(brightness=0.6),
    "contrast 0.8": _jitter(contrast=0.8),
    "saturation 1": _jitter(saturation=1.0),
    "hue 0.3": _jitter(hue=0.3),
    "grayscale": AugmentSpec(grayscale=1.0),
}
_DEGRADATIONS = {
    "original": AugmentSpec(),
    "blur\nsigma 3": AugmentSpec(blur=WithProbability(3.0, 1.0)),
    "noise\nstddev 60": AugmentSpec(noise=WithProbability(60.0, 1.0)),
    "jpeg\nmin_quality 1": AugmentSpec(jpeg=WithProbability(99, 1.0)),
}
_OCCLUSION = {
    "original": AugmentSpec(),
    "cutout\nsize 0.3": AugmentSpec(cutout=0.3),
    "cutout\nsize 0.8": AugmentSpec(cutout=0.8),
    "grid_mask\nhidden 0.4": AugmentSpec(grid_mask=WithProbability(0.4, 1.0)),
    "grid_mask\nhidden 0.6": AugmentSpec(grid_mask=WithProbability(0.6, 1.0)),
}
_RAND_AUGMENT = {
    "RandAugment\nmagnitude 3": AugmentSpec(rand_augment=RandAugment(2, 3.0)),
    "RandAugment\nmagnitude 7": AugmentSpec(rand_augment=RandAugment(2, 7.0)),
    "RandAugment\nmagnitude 10": AugmentSpec(rand_augment=RandAugment(2, 10.0)),
}
_AUG_MIX = {
    "AugMix\nseverity 3": AugmentSpec(aug_mix=AugMix(3.0, 3)),
    "AugMix\nseverity 10": AugmentSpec(aug_mix=AugMix(10.0, 3)),
}


def _transforms(name: str, specs: Mapping[str, AugmentSpec]) -> None:
    """Draw a column per transform: of ten samples, the one that differs third most."""
    originals = [sample("flower.jpg"), sample("china.jpg")]
    size = (1.35 * len(specs), 3.15)
    with sheet(name, 2, len(specs), size, jpeg=True) as panels:
        for column, (title, spec) in enumerate(specs.items()):
            images, _ = augmented(originals * 10, spec.always())
            for row, original in enumerate(originals):
                samples = images[row::2]
                third = np.argsort(_difference(samples, original))[-3]
                show(panels[row, column], samples[third], "" if row else title)


def _difference(samples: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of samples [N, H, W, 3] from the original, float [N]."""
    return np.asarray(np.abs(samples - original).mean(axis=(1, 2, 3)))


def _chains() -> None:
    """Draw the same operations at increasing magnitudes, with increasing differences."""
    originals = [sample("flower.jpg"), sample("china.jpg")]
    with sheet("rand_augment_aug_mix", 2, 6, (8.1, 3.15), jpeg=True) as panels:
        for row, original in enumerate(originals):
            show(panels[row, 0], original, "" if row else "original")
        start = 1
        for kinds in (_RAND_AUGMENT, _AUG_MIX):
            images = [augmented(originals * 40, spec)[0] for spec in kinds.values()]
            for row, original in enumerate(originals):
                differences = np.array([_difference(each[row::2], original) for each in images])
                rising = (np.diff(differences, axis=0) > 0.15 * differences[-1]).all(axis=0)
                chosen = np.argsort(np.where(rising, differences[-1], -1))[-3]
                for column, (title, each) in enumerate(zip(kinds, images, strict=True), start):
                    show(panels[row, column], each[row::2][chosen], "" if row else title)
            start += len(kinds)


def _operations() -> None:
    operations, original = rand_augment_operations(), tf.constant(sample("flower.jpg"))
    with sheet("operations", 2, 7, (9.4, 3.3), jpeg=True) as panels:
        for number, (axes, one) in enumerate(zip(panels.flat, operations, strict=True)):
            image = apply_one(operations, original, tf.constant(number), 0.7, 1.0)
            show(axes, image.numpy(), one.name)


def _blends() -> None:
    """Draw the first two blends of each image with weights near one half."""
    originals = [sample("flower.jpg"), sample("china.jpg")]
    kinds = {"mixup": AugmentSpec(mixup=1.0), "cutmix": AugmentSpec(cutmix=1.0)}
    with sheet("blends", 2, 5, (8.2, 3.9), jpeg=True) as panels:
        for row, original in enumerate(originals):
            _labelled(panels[row, 0], original, np.eye(2)[row], "original")
        for start, (title, spec) in zip((1, 3), kinds.items(), strict=True):
            images, labels = augmented(originals * 20, spec)
            balanced = np.abs(labels[:, 0] - 0.5) < 0.25
            for row in range(2):
                places = [place for place in np.flatnonzero(balanced) if place % 2 == row][:2]
                for column, place in enumerate(places, start=start):
                    _labelled(panels[row, column], images[place], labels[place], title)


def _labelled(axes: Any, image: np.ndarray, label: np.ndarray, title: str) -> None:
    show(axes, image, title)
    axes.set_xlabel(f"flower {label[0]:.2f}\ntemple {label[1]:.2f}")


def _shares() -> None:
    stream = SeedStream()
    with sheet("shares", 1, 3, (8.4, 2.4)) as panels:
        for axes, alpha in zip(panels[0], (0.2, 1.0, 4.0), strict=True):
            stream.begin(tf.constant([0, 0]))
            axes.hist(stream.beta(alpha, (20_000,)).numpy(), 40, density=True, color=BLUE)
            label(axes, f"alpha {alpha:g}", "λ", "density")


def _policies() -> None:
    names, count = ("light", "medium", "strong", "fine_grained", "documents"), 4
    originals = [sample("flower.jpg"), sample("china.jpg")] * (count // 2)
    with sheet("policies", len(names), count, (5.4, 6.2), jpeg=True) as panels:
        for row, name in enumerate(names):
            section = validate({"augment": {"policy": name}}, source=name).augment
            images, _ = augmented(originals, augment_spec(section), seed=5)
            for column in range(count):
                show(panels[row, column], images[column])
            panels[row, 0].set_ylabel(name)


def _features() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.array([[-2.0, -1.0], [2.0, -0.5], [0.0, 2.2]]), 40, axis=0)
    points = (centres + 0.45 * rng.standard_normal(centres.shape)).astype(np.float32)
    labels = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    key = (0, 1, 0)
    with sheet("feature_space", 1, 4, (10.4, 3.0)) as panels:
        _scatter(panels[0, 0], points, labels, "features of three classes")
        for axes, title, spec in (
            (panels[0, 1], "feature_mixup", FeatureSpec(mixup=1.0)),
            (panels[0, 2], "feature_noise", FeatureSpec(noise=0.3)),
        ):
            _scatter(axes, *augment_features(points, labels, spec, key=key), title)
        _scatter_styles(panels[0, 3], rng)
    with sheet("feature_cutmix", 1, 5, (8.4, 2.3)) as panels:
        maps = np.broadcast_to(np.arange(5)[:, None, None, None], (5, 14, 14, 1))
        spec = FeatureSpec(cutmix=1.0)
        pasted, mixed = augment_features(maps, np.eye(5, dtype=np.float32), spec, key=(0, 1, 5))
        for number, axes in enumerate(panels[0]):
            show(axes, pasted[number, :, :, 0], f"image {number + 1}", cmap="Set2", vmin=0, vmax=7)
            parts = [f"{share:.2f} of {n + 1}" for n, share in enumerate(mixed[number]) if share]
            axes.set_xlabel("\n".join(parts))


def _scatter(axes: Any, points: np.ndarray, labels: np.ndarray, title: str) -> None:
    colours = [tuple(int(hue[n : n + 2], 16) / 255 for n in (1, 3, 5)) for hue in _CLASSES]
    axes.scatter(*points.T, s=14, c=labels @ np.array(colours))
    axes.set(title=title, xlim=(-3.6, 3.6), ylim=(-2.8, 3.8), xticks=[], yticks=[])


_CLASSES = (BLUE, ORANGE, GREEN)


def _scatter_styles(axes: Any, rng: np.random.Generator) -> None:
    """Draw mean and standard deviation of one channel of 24 maps, before and after MixStyle."""
    count = 24
    style = rng.uniform((-2, 0.5), (2, 2), (count, 2))
    maps = style[:, 0, None, None, None] + style[:, 1, None, None, None] * rng.standard_normal(
        (count, 7, 7, 1)
    )
    spec = FeatureSpec(mixstyle=WithProbability(1.0, 1.0))
    mixed, _ = augment_features(maps, np.eye(count, dtype=np.float32), spec, key=(0, 1, 0))
    before, after = (
        np.stack([some.mean(axis=(1, 2, 3)), some.std(axis=(1, 2, 3))]) for some in (maps, mixed)
    )
    for start, end in zip(before.T, after.T, strict=True):
        axes.plot(*np.stack([start, end]).T, color=INK, linewidth=0.4)
    axes.scatter(*before, s=14, color=BLUE, label="before")
    axes.scatter(*after, s=14, color=RED, label="after")
    axes.set(title="mixstyle", xlabel="mean of a channel", ylabel="its standard deviation")
    axes.legend(fontsize=8)
