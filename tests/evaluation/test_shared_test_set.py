"""Runs on the same test set are counted, and the optimism of the best is estimated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import unless_thorough
from tltool.evaluation.shared_test_set import (
    digest_of_images,
    expected_maximum,
    expected_optimism,
    find_shared_test_set,
    find_shared_test_sets,
)
from tltool.runs.manifest import Manifest, write_manifest
from tltool.runs.run_options import RunOptions


def write_run(
    run: Path, correct: list[bool], *, digest: str | None = "d", split: str = "test"
) -> Path:
    run.mkdir(parents=True)
    manifest = Manifest(
        name="r", status="finished", started="2026-01-01T00:00:00Z", recipe_digest="",
        options=RunOptions("photos"), versions={}, lock_digest="", machine={}, flags={},
        test_digest=digest,
    )  # fmt: skip
    write_manifest(run / "manifest.json", manifest)
    value, n = float(np.mean(correct)), len(correct)
    metrics = {"split": split, "n": n, "accuracy": {"value": value, "low": 0.0, "high": 1.0}}
    metrics |= {"log_loss": 0.5, "validation": {"val_accuracy": 0.5, "val_loss": 0.7}}
    (run / "metrics.json").write_text(json.dumps(metrics))
    answers = [("a", "true") if each else ("b", "false") for each in correct]
    rows = [f"{number}.png,a,{name},0.9,{right}" for number, (name, right) in enumerate(answers)]
    header = "path,label,predicted,confidence,correct"
    (run / "predictions.csv").write_text("\n".join([header, *rows]))
    return run


def test_the_digest_does_not_depend_on_the_order_of_the_images() -> None:
    assert digest_of_images(["b", "a"]) == digest_of_images(["a", "b"]) != digest_of_images(["a"])
    assert digest_of_images([]) is None


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 0.5642), (11, 1.5864), (100, 2.5076)])
def test_the_expected_maximum_is_that_of_normal_order_statistics(
    count: int, expected: float
) -> None:
    assert expected_maximum(count) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("noise", unless_thorough([0.3, 3.0], 3.0))
@pytest.mark.parametrize("size", [1, 5])
def test_the_optimism_is_what_the_best_of_equally_good_models_loses_on_new_images(
    noise: float, size: int
) -> None:
    """Models err on the same images the more, the less noise they have of their own."""
    rng, models, n, found, lost = np.random.default_rng(0), 8, 200, [], []
    groups = np.repeat(np.arange(n // size), size)
    for _ in range(300):
        difficulty = rng.normal(0, 1, n // size)[groups]
        own = rng.normal(0, noise, (models, n // size))[:, groups]
        correct = difficulty + own < (1 + noise**2) ** 0.5
        found.append(expected_optimism(correct, groups, models))
        lost.append(correct.mean(axis=1).max() - 0.8413)
    error = np.std(lost) / len(lost) ** 0.5
    assert np.mean(found) == pytest.approx(np.mean(lost), abs=3 * error)


def test_runs_with_the_same_test_set_are_found_wherever_they_are_in_the_folder(
    tmp_path: Path,
) -> None:
    runs, right = tmp_path / "runs", [True] * 30
    first = write_run(runs / "first", right)
    write_run(runs / "second", [False] * 6 + right[6:])
    (runs / "kfold").mkdir()
    (runs / "kfold" / "group.json").write_text("{}")
    fold = write_run(runs / "kfold" / "fold-0", right[:-3] + [False] * 3)
    write_run(runs / "other", right, digest="another")
    write_run(runs / "before", right, digest=None)
    write_run(runs / "validated", right, split="validation")
    (runs / "unreadable").mkdir()
    (runs / "unreadable" / "manifest.json").write_text("no JSON")
    for run in (first, fold):
        found = find_shared_test_set(run)
        assert found and len(found.runs) == 3
        assert found.best.name == "first"
        assert 0 < found.optimism < 0.2
        assert (
            f"used by 3 runs: if they are equally good, the accuracy of the best of them is "
            f"about {100 * found.optimism:.1f} points" in found.summary
        )
    sets = find_shared_test_sets(runs)
    assert set(sets) == {"d", "another"}
    assert (len(sets["another"].runs), sets["another"].summary) == (1, "")
    assert find_shared_test_set(runs / "validated") is None


def test_without_predictions_the_models_count_as_independent(tmp_path: Path) -> None:
    correct = [True] * 80 + [False] * 20
    for name in ("a", "b"):
        run = write_run(tmp_path / name, correct)
    found = find_shared_test_set(run)
    assert found and found.optimism == 0  # they err on the same images
    (run / "predictions.csv").unlink()
    found = find_shared_test_set(run)
    assert found and found.optimism == pytest.approx(0.5642 * 0.04, rel=1e-3)
