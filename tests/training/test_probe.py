"""The probe: a converged softmax regression with the standardisation folded in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tltool.training.probe import Probe, evenly_by_class, fit_probe
from tltool.training.softmax_regression import solve_softmax
from tltool.training.validation import loss_and_accuracy


def data(classes: int, n: int = 120, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return features [n, width] on different scales, none below the floor, and labels [n]."""
    rng = np.random.default_rng(classes)
    labels = np.arange(n) % classes
    features = rng.normal(0, 1, (n, width)) + rng.normal(0, 0.8, (classes, width))[labels]
    scales = np.geomspace(0.02, 0.12, width)
    return (features * scales + 5 * scales).astype(np.float32), labels


def fit(features: np.ndarray, labels: np.ndarray, **changes: object) -> Probe:
    options = {"classes": int(labels.max()) + 1, "c_values": [0.1], "folds": 3}
    options |= {"weights": None, "seed": 0} | changes
    return fit_probe(features, labels, **options)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_folded_probe_equals_regression_on_standardised_features(classes):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, labels = data(classes)
    scaler = StandardScaler().fit(features.astype(np.float64))
    standard = scaler.transform(features.astype(np.float64))
    reference = LogisticRegression(C=0.1, max_iter=2000, tol=1e-8).fit(standard, labels)
    logits = fit(features, labels).logits(features)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, reference.predict_proba(standard), atol=3e-3)


def test_a_feature_that_one_training_image_has_costs_no_other_image_its_log_loss():
    """Divided by its standard deviation it was 22 on that image, and 400 on the next one."""
    features, labels = data(3, n=700, width=20)
    features[:, -1] = 0
    features[0, -1] = 0.001  # near-dead in the training images
    features[500::10, -1] = 0.02
    how = {"c_values": [0.01, 0.1, 1], "folds": 5}
    reached = []
    for columns in (slice(None), slice(-1)):  # with it, without it
        probe = fit(features[:500, columns], labels[:500], **how)
        logits = probe.logits(features[500:, columns])
        reached.append(loss_and_accuracy(logits, labels[500:]))
    assert reached[1]["val_loss"] < 0.9
    assert reached[0]["val_loss"] == pytest.approx(reached[1]["val_loss"], abs=0.02)
    assert reached[0]["val_accuracy"] == pytest.approx(reached[1]["val_accuracy"], abs=0.02)


def test_each_fold_is_standardised_by_its_own_training_images():
    """An outlier among the validation images of a fold does not change the scale of the fold."""
    labels = np.arange(200) % 2
    features = (np.random.default_rng(0).normal(0, 1, (200, 1)) + 6 * labels[:, None]) / 3
    features[1] = 1e6  # a training image of one fold alone; its class has the larger values
    probe = fit(features.astype(np.float32), labels, c_values=[1.0], folds=2)
    assert probe.loss < 0.75 * np.log(2)  # one fold at ln 2, the other near 0


def test_two_classes_are_a_softmax_of_half_the_weights():
    features, labels = data(2)
    probe = fit(features, labels)
    np.testing.assert_allclose(probe.kernel[:, 0], -probe.kernel[:, 1], rtol=1e-5)
    assert probe.kernel.shape == (6, 2)
    assert probe.bias.shape == (2,)


def test_a_constant_feature_gets_no_weight():
    features, labels = data(3)
    features[:, 2] = 7.0
    probe = fit(features, labels)
    assert np.isfinite(probe.kernel).all()
    np.testing.assert_array_equal(probe.kernel[2], 0)


def test_features_without_any_content_give_the_shares_of_the_classes():
    labels = np.array([0] * 30 + [1] * 10)
    probe = fit(np.full((40, 4), 3.0, np.float32), labels)
    logits = probe.logits(np.full((1, 4), 3.0, np.float32))[0]
    assert 1 / (1 + np.exp(logits[0] - logits[1])) == pytest.approx(0.25, abs=0.01)


def test_cross_validation_chooses_a_strong_penalty_for_noise():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(0, 1, (60, 50)).astype(np.float32), np.arange(60) % 2
    assert fit(features, labels, c_values=[1e-4, 1.0, 100.0]).strength == 1e-4


def test_cross_validation_gives_an_unbiased_accuracy():
    features, labels = data(3)
    probe = fit(features, labels, c_values=[0.01, 1.0], folds=5)
    own = loss_and_accuracy(probe.logits(features), labels)
    assert 0.4 < probe.accuracy <= own["val_accuracy"] + 0.05
    assert own["val_loss"] < probe.loss < np.log(3)


def test_balanced_weights_help_the_rare_class():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 90 + [1] * 10)
    features = (rng.normal(0, 1, (100, 3)) + labels[:, None]).astype(np.float32)
    weights = np.where(labels == 1, 5.0, 100 / 180)
    plain, balanced = (fit(features, labels, weights=given) for given in (None, weights))
    rare = labels == 1
    chosen = [probe.logits(features[rare]).argmax(axis=1) for probe in (plain, balanced)]
    found = [(classes == 1).mean() for classes in chosen]
    assert found[1] > found[0]


def test_an_image_of_weight_two_counts_as_two_images():
    features, labels = data(2, n=20)
    twice = np.concatenate([features, features[:5]]), np.concatenate([labels, labels[:5]])
    # one strength, so that nothing but the fit is compared; it standardises by what it is given
    strength = {"c_values": (0.1,), "folds": 2}
    weights = np.where(np.arange(len(labels)) < 5, 2.0, 1.0)
    weighted = fit(features, labels, weights=weights, **strength)
    np.testing.assert_allclose(
        weighted.logits(features), fit(*twice, **strength).logits(features), atol=0.15
    )
    assert not np.allclose(weighted.kernel, fit(features, labels, **strength).kernel, atol=1e-4)


def test_one_image_per_class_is_enough_to_continue():
    features, labels = data(3, n=3)
    assert np.isfinite(fit(features, labels).kernel).all()


def test_the_same_seed_gives_the_same_probe():
    features, labels = data(3)
    first, second = (fit(features, labels, c_values=[0.01, 0.1, 1]) for _ in range(2))
    np.testing.assert_array_equal(first.kernel, second.kernel)


def test_images_of_one_group_are_in_one_fold():
    """Copies across folds would reward the weakest regularisation and an impossible accuracy."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 8)
    centres = rng.normal(size=(20, 30))  # each group looks like itself, no class like a class
    features = (centres[groups] + 0.05 * rng.normal(size=(160, 30))).astype(np.float32)
    labels = (np.arange(20) % 2)[groups]
    how = {"c_values": [0.001, 0.1, 10], "folds": 5}
    apart, together = (fit(features, labels, groups=each, **how) for each in (None, groups))
    assert apart.accuracy == 1 and apart.strength == 10
    assert together.accuracy < 0.8 and together.strength == 0.001


def test_single_images_as_groups_change_nothing():
    features, labels = data(3)
    how = {"c_values": [0.01, 0.1], "folds": 3}
    plain, single = (fit(features, labels, groups=g, **how) for g in (None, np.arange(120)[::-1]))
    assert (plain.loss, plain.strength) == (single.loss, single.strength)


def test_a_class_with_one_group_is_not_cross_validated():
    features, labels = data(2)
    groups = np.where(labels == 1, 0, np.arange(len(labels)))
    assert fit(features, labels, groups=groups, c_values=[0.01, 0.1, 1]).strength == 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_a_solver_that_starts_near_the_optimum_ends_there(classes):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = rng.normal(size=(60, 8)) + labels[:, np.newaxis]
    how = {"classes": classes, "weights": None}
    weaker = solve_softmax(features, labels, strength=0.1, **how)
    cold = solve_softmax(features, labels, strength=1.0, **how)
    warm = solve_softmax(features, labels, strength=1.0, start=weaker, **how)
    assert not np.allclose(weaker[0], cold[0], atol=0.05)
    for first, second in zip(cold, warm, strict=True):
        np.testing.assert_allclose(
            first - first.mean(axis=-1, keepdims=True),
            second - second.mean(axis=-1, keepdims=True),
            atol=2e-3,
        )


@given(st.lists(st.integers(0, 200), min_size=1, max_size=6), st.integers(10, 300))
def test_rows_are_taken_evenly_from_each_class(sizes, most):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = evenly_by_class(labels, most)
    if len(labels) <= most:
        assert rows.tolist() == list(range(len(labels)))
        return
    assert most - len(sizes) <= len(rows) <= most
    assert (np.diff(rows) > 0).all()
    taken = np.bincount(labels[rows], minlength=len(sizes))
    assert all(
        number >= min(size, 10, most // len(sizes))
        for number, size in zip(taken, sizes, strict=True)
    )
    pairs = [(a, b) for a in range(len(sizes)) for b in range(len(sizes))]
    assert all(taken[a] <= taken[b] for a, b in pairs if sizes[a] <= sizes[b])
