"""Every transform of a single image by its name, as the tests use it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tltool.augment.augmenter import Augmenter
from tltool.augment.spec import AugmentSpec, AugMix, ColorJitter, RandAugment, WithProbability

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]

TRANSFORMS = {
    "flip": AugmentSpec(flip="horizontal"),
    "crop": AugmentSpec(crop=(0.5, 1.5)),
    "rotation": AugmentSpec(rotation=20),
    "translation": AugmentSpec(translation=0.2),
    "scale": AugmentSpec(scale=0.3),
    "shear": AugmentSpec(shear=15),
    "color_jitter": AugmentSpec(color_jitter=ColorJitter(0.3, 0.3, 0.3, 0.05, 1)),
    "grayscale": AugmentSpec(grayscale=0.5),
    "rand_augment": AugmentSpec(rand_augment=RandAugment(2, 9)),
    "aug_mix": AugmentSpec(aug_mix=AugMix(3, 3)),
    "noise": AugmentSpec(noise=WithProbability(20, 1)),
    "blur": AugmentSpec(blur=WithProbability(2, 1)),
    "jpeg": AugmentSpec(jpeg=WithProbability(60, 1)),
    "cutout": AugmentSpec(cutout=0.5),
    "grid_mask": AugmentSpec(grid_mask=WithProbability(0.4, 1)),
}
MIXES = {"mixup": AugmentSpec(mixup=0.4), "cutmix": AugmentSpec(cutmix=1.0)}
ALL_TRANSFORMS = AugmentSpec(**{name: getattr(spec, name) for name, spec in TRANSFORMS.items()})
EVERYTHING = AugmentSpec(
    **{name: getattr(spec, name) for name, spec in {**TRANSFORMS, **MIXES}.items()}
)


def noise(count: int, size: tuple[int, int] = (32, 24)) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, *size, 3)).astype(np.float32)


def smooth(count: int, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    """Images without sharp edges, whole grey levels in 40…215."""
    small = np.random.default_rng(1).uniform(40, 215, (count, 4, 4, 3)).astype(np.float32)
    return np.round(tf.image.resize(small, size, method="bicubic").numpy().clip(40, 215))


def augmented(
    images: np.ndarray,
    spec: AugmentSpec,
    *,
    seed: int = 0,
    epoch: int = 1,
    labels: np.ndarray | None = None,
    order: np.ndarray | None = None,
    batch_size: int = 8,
    threads: int | None = None,
    on_device: bool = False,
) -> Batch:
    """Return (index [N], images [N, H, W, 3], labels [N, C]) of one epoch."""
    count = len(images)
    index = np.arange(count) if order is None else order
    labels = np.eye(count, dtype=np.float32) if labels is None else labels
    examples = tf.data.Dataset.from_tensor_slices(
        (index.astype(np.int64), images[index], labels[index])
    )
    augmenter = Augmenter(spec, (images.shape[1], images.shape[2]))
    read = augmenter.drawn_batches if on_device else augmenter.batches
    batches = read(examples, key=tf.constant([seed, epoch]), batch_size=batch_size)
    if threads is not None:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        batches = batches.with_options(options)
    if on_device:
        parts = [[part.numpy() for part in augmenter.transform(batch)] for batch in batches]
    else:
        parts = list(batches.as_numpy_iterator())
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore
