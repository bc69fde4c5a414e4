"""Augmentation of cached features: formulas, labels and random draws."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from scipy import stats

from tltool.augment.feature_space import augment_features
from tltool.augment.spec import FeatureSpec, WithProbability

KEY = (0, 1, 2)
ALWAYS = WithProbability(0.1, 1.0)


def vectors(count: int, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (count, width)).astype(np.float32)


def maps(count: int, side: int = 6, channels: int = 4) -> np.ndarray:
    scale = np.random.default_rng(1).uniform(0.5, 3, (count, 1, 1, channels))
    return (np.random.default_rng(0).normal(3, 1, (count, side, side, channels)) * scale).astype(
        np.float32
    )


def own(count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)


ALL = {
    "mixup": FeatureSpec(mixup=0.4),
    "cutmix": FeatureSpec(cutmix=1.0),
    "noise": FeatureSpec(noise=0.2),
    "mixstyle": FeatureSpec(mixstyle=ALWAYS),
    "both": FeatureSpec(mixup=0.4, cutmix=1.0),
}


@pytest.mark.parametrize("spec", ALL.values(), ids=ALL)
def test_the_key_decides_every_draw(spec):
    inputs, labels = maps(16), own(16)
    once = augment_features(inputs, labels, spec, key=KEY)
    again = augment_features(inputs, labels, spec, key=KEY)
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for key in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not np.array_equal(once[0], augment_features(inputs, labels, spec, key=key)[0])


@pytest.mark.parametrize("spec", ALL.values(), ids=ALL)
def test_features_as_they_are_stored_become_float32(spec):
    inputs = maps(8).astype(ml_dtypes.bfloat16)
    changed, labels = augment_features(inputs, own(8), spec, key=KEY)
    assert changed.dtype == np.float32
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("inputs", [vectors(32), maps(32)], ids=["vectors", "maps"])
def test_mixup_blends_features_as_it_blends_labels(inputs):
    changed, labels = augment_features(inputs, own(32), FeatureSpec(mixup=1.0), key=KEY)
    np.testing.assert_allclose(changed, np.tensordot(labels, inputs, 1), atol=1e-4)
    assert (labels.max(axis=1) < 0.99).any()


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_share_of_mixup_is_drawn_from_the_beta_distribution(alpha):
    labels = augment_features(vectors(1500), own(1500), FeatureSpec(mixup=alpha), key=KEY)[1]
    drawn = np.diagonal(labels)[(labels > 0).sum(axis=1) == 2]
    inside = drawn[(drawn > 1e-4) & (drawn < 1 - 1e-4)]
    low, high = stats.beta(alpha, alpha).cdf([1e-4, 1 - 1e-4])
    test = stats.kstest(inside, lambda x: (stats.beta(alpha, alpha).cdf(x) - low) / (high - low))
    assert test.pvalue > 0.01


@pytest.mark.parametrize("side", [2, 7])
def test_labels_of_cutmix_are_the_positions_that_were_pasted(side):
    count = 60
    inputs = np.tile(np.arange(count, dtype=np.float32)[:, None, None, None], (1, side, side, 3))
    changed, labels = augment_features(inputs, own(count), FeatureSpec(cutmix=1.0), key=KEY)
    assert (labels.max(axis=1) < 0.99).sum() > 10
    for number in range(count):
        area = np.bincount(changed[number, :, :, 0].astype(int).ravel(), minlength=count)
        np.testing.assert_allclose(labels[number], area / side**2, atol=1e-6)


def test_cutmix_and_mixstyle_leave_vectors_alone():
    spec = FeatureSpec(cutmix=1.0, mixstyle=ALWAYS)
    changed, labels = augment_features(vectors(8), own(8), spec, key=KEY)
    np.testing.assert_array_equal(changed, vectors(8))
    np.testing.assert_array_equal(labels, own(8))


def test_noise_is_a_share_of_each_channels_deviation():
    inputs = vectors(4000) * np.arange(1, 9, dtype=np.float32)
    changed, labels = augment_features(inputs, own(4000), FeatureSpec(noise=0.3), key=KEY)
    added = (changed - inputs).std(axis=0) / inputs.std(axis=0)
    np.testing.assert_allclose(added, 0.3, atol=0.02)
    np.testing.assert_array_equal(labels, own(4000))


def test_mixstyle_blends_means_and_deviations_and_keeps_the_content():
    inputs = maps(24)
    changed, labels = augment_features(inputs, own(24), FeatureSpec(mixstyle=ALWAYS), key=KEY)
    np.testing.assert_array_equal(labels, own(24))
    mean, spread = inputs.mean(axis=(1, 2)), inputs.std(axis=(1, 2))
    new_mean, new_spread = changed.mean(axis=(1, 2)), changed.std(axis=(1, 2))
    normed = (inputs - mean[:, None, None]) / spread[:, None, None]
    again = (changed - new_mean[:, None, None]) / new_spread[:, None, None]
    np.testing.assert_allclose(again, normed, atol=1e-3)
    moved = 0
    for row in range(24):
        # the same λ and partner for every channel, for means and deviations alike
        sizes = [_misfit(row, p, mean, spread, new_mean, new_spread) for p in range(24) if p != row]
        assert min(sizes) < 1e-3 or np.allclose(new_mean[row], mean[row], atol=1e-4)
        moved += not np.allclose(new_mean[row], mean[row], atol=1e-3)
    assert moved > 8


def _misfit(row, partner, mean, spread, new_mean, new_spread) -> float:
    before = np.concatenate([mean[row], spread[row]])
    other = np.concatenate([mean[partner], spread[partner]])
    after = np.concatenate([new_mean[row], new_spread[row]])
    away = before - other
    share = np.clip((after - other) @ away / (away @ away), 0, 1)
    return float(np.abs(share * before + (1 - share) * other - after).max())


def test_the_probability_of_mixstyle_is_the_share_of_batches():
    spec = FeatureSpec(mixstyle=WithProbability(1.0, 0.3))
    inputs, labels = maps(4), own(4)
    changed = [
        not np.array_equal(augment_features(inputs, labels, spec, key=(0, 1, n))[0], inputs)
        for n in range(200)
    ]
    assert 0.2 < np.mean(changed) < 0.4
