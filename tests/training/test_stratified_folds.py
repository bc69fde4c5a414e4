"""Stratified folds are those of scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from tltool.training.stratified_folds import groups_of_smallest_class, stratified_folds


@settings(max_examples=60)
@given(st.integers(2, 7), st.integers(2, 9), st.integers(0, 2**31 - 1), st.sampled_from([1, 2, 5]))
def test_the_folds_are_those_of_scikit_learn(classes, count, seed, largest_group):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat(np.arange(classes), count), rng.integers(classes, size=60)])
    groups = rng.integers(max(1, len(labels) // largest_group), size=len(labels))
    if largest_group == 1:
        groups = rng.permutation(len(labels))
    count = min(count, groups_of_smallest_class(labels, groups))
    if count < 2:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        expected = list(splitter.split(labels, labels, groups))
    folds = stratified_folds(labels, groups, count=count, seed=seed)
    assert len(folds) == len(expected)
    for (train, validation), (other_train, other_validation) in zip(folds, expected, strict=True):
        np.testing.assert_array_equal(train, other_train)
        np.testing.assert_array_equal(validation, other_validation)
