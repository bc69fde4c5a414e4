"""Label errors: flipped labels are found, and near-duplicates do not confirm each other."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tltool.evaluation.label_errors import (
    COLUMNS,
    confident_learning,
    find_label_issues,
    out_of_fold_probabilities,
    write_label_errors,
)


def clouds(
    n: int, classes: int = 3, seed: int = 0, spread: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return features [n, 8] of classes whose centres are ``spread`` apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = rng.normal(0, spread, (classes, 8))
    return (centres[labels] + rng.normal(0, 1, (n, 8))).astype(np.float32), labels


def test_flipped_labels_are_found_and_the_right_class_is_suggested() -> None:
    features, true = clouds(300)
    flipped = np.random.default_rng(1).permutation(300)[:15]
    labels = true.copy()
    labels[flipped] = (true[flipped] + 1) % 3
    found = find_label_issues(features, labels, np.arange(300), classes=3, strength=0.1, seed=0)
    assert found is not None and found.n == 300
    assert {one.index for one in found.issues} <= set(flipped)
    assert len(found.issues) >= 10
    for one in found.issues:
        assert (one.label, one.suggested) == (labels[one.index], true[one.index])
        assert one.score == pytest.approx(1 - one.p_label)
    scores = [one.score for one in found.issues]
    assert scores == sorted(scores, reverse=True)
    assert found.estimated == pytest.approx(15, abs=6)


@pytest.mark.parametrize(("flips", "above"), [(0, False), (15, True)])
def test_flipped_labels_are_more_than_chance_gives(flips: int, above: bool) -> None:
    features, labels = clouds(300, spread=1.5)
    rng = np.random.default_rng(1)
    flipped = rng.permutation(300)[:flips]
    labels[flipped] = (labels[flipped] + rng.integers(1, 3, flips)) % 3
    found = find_label_issues(features, labels, np.arange(300), classes=3, strength=0.01, seed=0)
    assert found is not None and found.by_chance is not None
    assert found.above_chance == above, (len(found.issues), found.by_chance)


def test_clean_labels_have_no_issues() -> None:
    features, labels = clouds(200)
    found = find_label_issues(features, labels, np.arange(200), classes=3, strength=0.1, seed=0)
    assert found is not None and not found.issues and found.estimated == 0
    assert not found.above_chance


def test_copies_with_the_same_wrong_label_do_not_confirm_each_other() -> None:
    features, labels = clouds(120, classes=2)
    copied, groups = np.repeat(features[:1], 40, axis=0), np.arange(160)
    features, labels = np.concatenate([features, copied]), np.append(labels, np.ones(40, int))
    groups[120:] = groups[0]
    together = out_of_fold_probabilities(features, labels, groups, classes=2, strength=0.1, seed=0)
    apart = out_of_fold_probabilities(
        features, labels, np.arange(160), classes=2, strength=0.1, seed=0
    )
    assert together is not None and apart is not None
    assert together[120:, 1].mean() < 0.2 < 0.5 < apart[120:, 1].mean()


def test_a_single_class_with_two_images_gives_no_result() -> None:
    features, labels = clouds(20, classes=2)
    labels[:] = 0
    labels[3] = 1
    assert (
        find_label_issues(features, labels, np.arange(20), classes=2, strength=1.0, seed=0) is None
    )


def test_a_class_of_a_single_image_is_skipped_and_the_others_are_checked() -> None:
    features, true = clouds(301)
    flipped = np.random.default_rng(1).permutation(np.arange(1, 301))[:15]
    labels = true.copy()
    labels[flipped] = (true[flipped] + 1) % 3
    labels[0] = 3  # the only image of its class; class 4 is two copies of one image
    features, labels = np.append(features, features[:2] + 9, axis=0), np.append(labels, [4, 4])
    groups = np.append(np.arange(301), [301, 301])
    found = find_label_issues(features, labels, groups, classes=5, strength=0.1, seed=0)
    assert found is not None
    assert (found.n, found.skipped_classes) == (300, (3, 4))
    assert len(found.issues) >= 10
    assert {one.index for one in found.issues} <= set(flipped)
    for one in found.issues:
        assert (one.label, one.suggested) == (labels[one.index], true[one.index])


def test_the_thresholds_are_those_of_the_paper() -> None:
    # the thresholds are 0.73 for class 0 and 0.55 for class 1
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.6, 0.4]])
    found = confident_learning(probabilities, np.array([0, 0, 0, 1, 1]))
    assert [(one.index, one.suggested) for one in found.issues] == [(2, 1)]
    assert found.estimated == pytest.approx(1.0)


def test_the_table_has_a_row_per_issue(tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    found = confident_learning(probabilities, np.array([0, 0, 1]))
    write_label_errors(
        tmp_path / "s.csv", found, ["a.jpg", 'b,"1".jpg', "c.jpg"], ["ants", "köttbullar"]
    )
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    (row,) = rows
    assert (row["file"], row["label"], row["suggested"]) == ('b,"1".jpg', "ants", "köttbullar")
    assert float(row["score"]) == pytest.approx(0.9)
