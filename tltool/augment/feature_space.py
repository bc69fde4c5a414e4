"""Augmentation of cached features: mixup, CutMix, noise and MixStyle without a forward pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tltool.augment.spec import FeatureSpec

_SALT = 5  # makes these draws independent of those of the order and the sampler
_EPSILON = 1e-6  # added to the variance in MixStyle

Pair = tuple[np.ndarray, np.ndarray]


def augment_features(
    inputs: np.ndarray, labels: np.ndarray, spec: FeatureSpec, *, key: tuple[int, int, int]
) -> Pair:
    """Return a batch of augmented features: MixStyle first, then mixup or CutMix, then noise.

    Args:
        inputs: [B, D] or feature maps [B, h, w, C], of any float type.
        labels: float32 [B, classes].
        spec: the augmentation; parts that need feature maps are skipped for vectors.
        key: seed of the run, epoch and number of the batch, which determine every draw.

    Returns:
        inputs float32, labels float32.
    """
    rng = np.random.default_rng((*key, _SALT))
    inputs = np.asarray(inputs, np.float32)
    if spec.mixstyle is not None and inputs.ndim == 4:
        coin = rng.random()
        if coin < spec.mixstyle.probability:
            inputs = mix_style(inputs, spec.mixstyle.amount, rng)
    inputs, labels = _blend(inputs, labels, spec, rng)
    if spec.noise is not None:
        deviation = inputs.std(axis=tuple(range(inputs.ndim - 1)))
        numbers = rng.standard_normal(inputs.shape, np.float32)
        inputs = inputs + spec.noise * deviation * numbers
    return inputs, labels


def mix_style(maps: np.ndarray, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """MixStyle: replace channel means and deviations of each map by a blend of two maps'.

    Instance statistics are blended and re-applied as in AdaIN (Huang and Belongie 2017); labels
    are unchanged (Zhou et al. 2021, arXiv:2104.02008).

    Args:
        maps: float32 [B, h, w, C].
        alpha: both parameters of the Beta distribution of the mixing coefficient.
        rng: random generator.
    """
    mean = maps.mean(axis=(1, 2), keepdims=True)
    deviation = np.sqrt(maps.var(axis=(1, 2), keepdims=True) + _EPSILON)
    partner = rng.permutation(len(maps))
    share = rng.beta(alpha, alpha, (len(maps), 1, 1, 1)).astype(np.float32)
    style_mean = share * mean + (1 - share) * mean[partner]
    style_deviation = share * deviation + (1 - share) * deviation[partner]
    result: np.ndarray = (maps - mean) / deviation * style_deviation + style_mean
    return result


def mix_features(
    inputs: np.ndarray, labels: np.ndarray, alpha: float, rng: np.random.Generator
) -> Pair:
    """Blend each row with another one (manifold mixup; Verma et al. 2019, arXiv:1806.05236)."""
    share = rng.beta(alpha, alpha, len(inputs)).astype(np.float32)
    partner = rng.permutation(len(inputs))
    return _weighted(inputs, share, partner), _weighted(labels, share, partner)


def paste_features(
    maps: np.ndarray, labels: np.ndarray, alpha: float, rng: np.random.Generator
) -> Pair:
    """Paste a rectangle of another map into each (CutMix; Yun et al. 2019, arXiv:1905.04899).

    Labels are weighted by the number of positions actually pasted.
    """
    count, height, width = maps.shape[:3]
    partner = rng.permutation(count)
    side = np.sqrt(1 - rng.beta(alpha, alpha, count))
    rows = _span(rng, side * height, height)
    columns = _span(rng, side * width, width)
    pasted = rows[:, :, np.newaxis] & columns[:, np.newaxis, :]  # [B, h, w]
    share = (1 - pasted.mean(axis=(1, 2))).astype(np.float32)
    return np.where(pasted[..., np.newaxis], maps[partner], maps), _weighted(labels, share, partner)


def _blend(
    inputs: np.ndarray, labels: np.ndarray, spec: FeatureSpec, rng: np.random.Generator
) -> Pair:
    kinds: list[tuple[Callable[..., Pair], float]] = []
    if spec.mixup is not None:
        kinds.append((mix_features, spec.mixup))
    if spec.cutmix is not None and inputs.ndim == 4:
        kinds.append((paste_features, spec.cutmix))
    if not kinds:
        return inputs, labels
    blend, alpha = kinds[rng.integers(len(kinds))]
    return blend(inputs, labels, alpha, rng)


def _weighted(values: np.ndarray, share: np.ndarray, partner: np.ndarray) -> np.ndarray:
    weight = share.reshape(-1, *[1] * (values.ndim - 1))
    result: np.ndarray = weight * values + (1 - weight) * values[partner]
    return result


def _span(rng: np.random.Generator, length: np.ndarray, extent: int) -> np.ndarray:
    """Return which positions lie within spans around random centres, bool [B, extent]."""
    length = np.floor(length)
    centre = rng.integers(0, extent, len(length))
    start = np.round(centre + 0.5 - length / 2)
    places = np.arange(extent)
    inside = places >= start[:, np.newaxis]
    result: np.ndarray = inside & (places < (start + length)[:, np.newaxis])
    return result
