"""Mixup and CutMix: what is blended, how often, and that labels say so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.augment.transforms import augmented, noise
from tltool.augment.spec import AugmentSpec

SIZE = (32, 24)


def numbered(count: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Images that are one number all over: their own."""
    return np.tile(np.arange(count, dtype=np.float32)[:, None, None, None], (1, *size, 3))


def shares(spec: AugmentSpec, count: int, *, size: tuple[int, int] = (4, 4)) -> np.ndarray:
    """Return λ of every image that is blended with another one."""
    labels = augmented(noise(count, size), spec, batch_size=100)[2]
    return np.diagonal(labels)[(labels > 0).sum(axis=1) == 2]


@pytest.mark.parametrize(
    "spec", [AugmentSpec(mixup=0.4), AugmentSpec(cutmix=1.0), AugmentSpec(mixup=0.2, cutmix=1.0)]
)
def test_blended_labels_are_probabilities(spec):
    labels = augmented(noise(50), spec)[2]
    assert (labels >= 0).all()
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert ((labels > 0.01) & (labels < 0.99)).any()


@pytest.mark.parametrize("alpha", [1e-3, 0.2, 10])
def test_mixup_blends_images_exactly_as_it_blends_labels(alpha):
    count = 40
    images = np.tile(np.arange(count, dtype=np.float32)[:, None, None, None], (1, *SIZE, 3))
    _, changed, labels = augmented(images, AugmentSpec(mixup=alpha))
    assert np.isfinite(changed).all()
    expected = labels @ np.arange(count)
    np.testing.assert_allclose(changed[:, 0, 0, 0], expected, atol=1e-3)
    np.testing.assert_allclose(
        changed, np.broadcast_to(expected[:, None, None, None], changed.shape), atol=1e-3
    )


def test_mixup_with_alpha_1_draws_uniform_weights():
    shares = augmented(noise(400, (4, 4)), AugmentSpec(mixup=1.0), batch_size=100)[2]
    own = np.diagonal(shares)[(shares > 0).sum(axis=1) == 2]
    assert abs(own.mean() - 0.5) < 0.06
    assert abs(own.std() - 12**-0.5) < 0.04


@pytest.mark.parametrize("size", [(32, 24), (33, 31), (5, 7)])
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_cutmix_labels_are_the_area_that_was_really_pasted(size, alpha):
    count = 48
    images = np.tile(np.arange(count, dtype=np.float32)[:, None, None, None], (1, *size, 3))
    _, changed, labels = augmented(images, AugmentSpec(cutmix=alpha))
    for image in range(count):
        pixels = np.round(changed[image, :, :, 0]).astype(int)
        area = np.bincount(pixels.ravel(), minlength=count) / pixels.size
        np.testing.assert_allclose(labels[image], area, atol=1e-5)


def test_with_both_kinds_every_batch_gets_one_of_them():
    images = np.tile(np.arange(8, dtype=np.float32)[:, None, None, None], (30, *SIZE, 3))
    _, changed, _ = augmented(images, AugmentSpec(mixup=1.0, cutmix=1.0))
    whole = np.isclose(changed, np.round(changed), atol=1e-4).reshape(30, -1).all(axis=1)
    assert 5 < whole.sum() < 25  # pasted pixels stay whole numbers, blended ones do not


def test_the_last_and_smaller_batch_is_blended_too():
    index, changed, labels = augmented(noise(9), AugmentSpec(mixup=0.4), batch_size=8)
    assert len(index) == len(changed) == len(labels) == 9


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_share_of_mixup_is_drawn_from_the_beta_distribution(alpha):
    drawn = shares(AugmentSpec(mixup=alpha), 1500)
    # a share that float32 rounds to 0 or 1 leaves no second label: α = 0.2 loses a few so
    assert len(drawn) > 1200
    inside = drawn[(drawn > 1e-4) & (drawn < 1 - 1e-4)]
    low, high = stats.beta(alpha, alpha).cdf([1e-4, 1 - 1e-4])
    test = stats.kstest(inside, lambda x: (stats.beta(alpha, alpha).cdf(x) - low) / (high - low))
    assert test.pvalue > 0.01


def pasted_areas(alpha: float, side: int, count: int) -> np.ndarray:
    """Return what a box of the paper leaves of an image, simulated apart."""
    rng = np.random.default_rng(7)
    length = np.floor(np.sqrt(1 - rng.beta(alpha, alpha, count)) * side)
    spans = []
    for _ in range(2):
        start = rng.integers(0, side, count) - length / 2
        low, high = np.clip([start, start + length], 0, side)
        spans.append(np.ceil(high) - np.ceil(low))
    return 1 - spans[0] * spans[1] / side**2


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_area_that_cutmix_leaves_is_distributed_as_in_the_paper(alpha):
    labels = augmented(noise(1000, (32, 32)), AugmentSpec(cutmix=alpha), batch_size=100)[2]
    partners = (labels > 0).sum(axis=1)
    drawn = np.diagonal(labels)[partners == 2]
    expected = pasted_areas(alpha, 32, 200_000)
    # an image that covers another one whole, or not at all, shows no second label
    expected = expected[(expected > 0) & (expected < 1)]
    assert stats.ks_2samp(drawn, expected).pvalue > 0.01


@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_the_fraction_of_blended_batches_is_the_configured_probability(probability):
    spec = AugmentSpec(mixup=1.0, mix_probability=probability)
    labels = augmented(noise(400, (4, 4)), spec, batch_size=4)[2]
    blended = (labels.max(axis=1) < 1).reshape(100, 4).any(axis=1).mean()
    assert abs(blended - probability) < 0.12
    assert spec.identity == (probability == 0)


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_the_fraction_of_cutmix_is_the_configured_probability(probability):
    spec = AugmentSpec(mixup=1.0, cutmix=1.0, switch_probability=probability)
    changed = augmented(numbered(240, (16, 16)), spec)[1]
    whole = np.isclose(changed, np.round(changed), atol=1e-4).reshape(30, -1).all(axis=1)
    assert abs(whole.mean() - probability) < 0.22


def test_the_same_image_twice_keeps_its_label():
    """An image that is drawn as its own partner stays what it is."""
    labels = augmented(noise(40, (4, 4)), AugmentSpec(mixup=1.0), batch_size=2)[2]
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert (labels.max(axis=1) > 1 - 1e-6).any()
