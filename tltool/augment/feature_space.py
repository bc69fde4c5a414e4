"""Changes of cached features: cheap, because no network has to run again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tltool.augment.spec import FeatureSpec

_SALT = 5  # keeps these draws apart from the order's and the sampler's
_EPSILON = 1e-6  # of MixStyle, under the root of the variance

Pair = tuple[np.ndarray, np.ndarray]


def change_features(
    inputs: np.ndarray, labels: np.ndarray, spec: FeatureSpec, *, key: tuple[int, int, int]
) -> Pair:
    """Return a batch with its features changed: style first, then a blend, then noise.

    Args:
        inputs: [B, D] or feature maps [B, h, w, C], of any float type.
        labels: float32 [B, classes].
        spec: what to change; what needs maps leaves vectors alone.
        key: seed of the run, epoch and number of the batch, which decide every draw.

    Returns:
        inputs float32, labels float32.
    """
    rng = np.random.default_rng((*key, _SALT))
    inputs = np.asarray(inputs, np.float32)
    if spec.mixstyle is not None and inputs.ndim == 4:
        coin = rng.random()
        if coin < spec.mixstyle.probability:
            inputs = mix_style(inputs, spec.mixstyle.amount, rng)
    inputs, labels = _blended(inputs, labels, spec, rng)
    if spec.noise is not None:
        deviation = inputs.std(axis=tuple(range(inputs.ndim - 1)))
        numbers = rng.standard_normal(inputs.shape, np.float32)
        inputs = inputs + spec.noise * deviation * numbers
    return inputs, labels


def mix_style(maps: np.ndarray, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """Give each map the channel means and deviations of a blend of two (MixStyle).

    Instance statistics are blended and put back as in AdaIN (Huang and Belongie 2017); labels stay
    (Zhou et al. 2021, arXiv:2104.02008).

    Args:
        maps: float32 [B, h, w, C].
        alpha: both parameters of the Beta distribution of the blend.
        rng: source of the draws.
    """
    mean = maps.mean(axis=(1, 2), keepdims=True)
    deviation = np.sqrt(maps.var(axis=(1, 2), keepdims=True) + _EPSILON)
    partner = rng.permutation(len(maps))
    share = rng.beta(alpha, alpha, (len(maps), 1, 1, 1)).astype(np.float32)
    style_mean = share * mean + (1 - share) * mean[partner]
    style_deviation = share * deviation + (1 - share) * deviation[partner]
    return (maps - mean) / deviation * style_deviation + style_mean


def mix_features(
    inputs: np.ndarray, labels: np.ndarray, alpha: float, rng: np.random.Generator
) -> Pair:
    """Blend each row with another one (manifold mixup; Verma et al. 2019, arXiv:1806.05236)."""
    share = rng.beta(alpha, alpha, len(inputs)).astype(np.float32)
    partner = rng.permutation(len(inputs))
    return _weighed(inputs, share, partner), _weighed(labels, share, partner)


def paste_features(
    maps: np.ndarray, labels: np.ndarray, alpha: float, rng: np.random.Generator
) -> Pair:
    """Paste a rectangle of another map into each (CutMix; Yun et al. 2019, arXiv:1905.04899).

    Labels are weighted by the positions that were really pasted.
    """
    count, height, width = maps.shape[:3]
    partner = rng.permutation(count)
    side = np.sqrt(1 - rng.beta(alpha, alpha, count))
    rows = _span(rng, side * height, height)
    columns = _span(rng, side * width, width)
    pasted = rows[:, :, np.newaxis] & columns[:, np.newaxis, :]  # [B, h, w]
    share = (1 - pasted.mean(axis=(1, 2))).astype(np.float32)
    return np.where(pasted[..., np.newaxis], maps[partner], maps), _weighed(labels, share, partner)


def _blended(
    inputs: np.ndarray, labels: np.ndarray, spec: FeatureSpec, rng: np.random.Generator
) -> Pair:
    kinds: list[tuple[Callable[..., Pair], float]] = []
    if spec.mixup is not None:
        kinds.append((mix_features, spec.mixup))
    if spec.cutmix is not None and inputs.ndim == 4:
        kinds.append((paste_features, spec.cutmix))
    if not kinds:
        return inputs, labels
    change, alpha = kinds[rng.integers(len(kinds))]
    return change(inputs, labels, alpha, rng)


def _weighed(values: np.ndarray, share: np.ndarray, partner: np.ndarray) -> np.ndarray:
    weight = share.reshape(-1, *[1] * (values.ndim - 1))
    return weight * values + (1 - weight) * values[partner]


def _span(rng: np.random.Generator, length: np.ndarray, extent: int) -> np.ndarray:
    """Return which positions lie within spans about drawn centres, bool [B, extent]."""
    length = np.floor(length)
    centre = rng.integers(0, extent, len(length))
    start = np.round(centre + 0.5 - length / 2)
    places = np.arange(extent)
    inside = places >= start[:, np.newaxis]
    return inside & (places < (start + length)[:, np.newaxis])
