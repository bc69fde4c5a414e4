"""Corrected labels in a run: by content, in every split, recorded, and done again from a copy."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import pytest

from tests.conftest import ONLY_PROBE, merged
from tests.workflows.conftest import CLASSES, TINY, contents, write_fruit
from tltool.data.corrections.corrections_file import CorrectionsFile
from tltool.data.corrections.decision import Decision
from tltool.errors import DataError, GateError, UsageError
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.apply_corrections import apply_corrections
from tltool.workflows.evaluate import evaluate
from tltool.workflows.finetune import finetune
from tltool.workflows.reproduce import reproduce

APPLE, KAKI, PLUM = CLASSES


def decided(path: Path, action: str, new: str = "", *, old: str = "") -> Decision:
    """Return the decision of one person about a file, found again by its content."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Decision(sha256, f"elsewhere/{path.name}", action, old or path.parent.name, new, "ann")


@pytest.fixture(scope="module")
def corrections(fruit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labels, one image left out, and two decisions that no longer fit."""
    file = tmp_path_factory.mktemp("corrections") / "mine.csv"
    apples, plums = sorted((fruit / APPLE).iterdir()), sorted((fruit / PLUM).iterdir())
    CorrectionsFile(file).append(
        [
            decided(apples[0], "relabel", KAKI),
            decided(apples[1], "relabel", PLUM),
            decided(apples[2], "exclude"),
            decided(plums[0], "keep"),
            decided(plums[1], "relabel", KAKI, old=APPLE),  # it has become a plum since
            Decision("0" * 64, "gone.png", "exclude", PLUM, who="ann"),
        ]
    )
    return file


@pytest.fixture(scope="module")
def corrected(fruit: Path, corrections: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = load_recipe("vgg16", merged(*TINY, *ONLY_PROBE))
    out = tmp_path_factory.mktemp("corrected") / "run"
    before = contents(fruit)
    run = finetune(fruit, recipe=recipe, out=out, corrections=corrections).run
    assert contents(fruit) == before
    return run


def test_corrected_labels_are_in_split_issues_manifest_and_log(fruit, corrected):
    layout = RunLayout(corrected)
    with layout.split.open(encoding="utf-8") as file:
        labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    assert labels[f"{APPLE}/1_00.png"] == KAKI and labels[f"{APPLE}/1_01.png"] == PLUM
    assert f"{APPLE}/1_02.png" not in labels and len(labels) == 23
    assert labels[f"{PLUM}/1_01.png"] == PLUM
    recorded = read_manifest(layout.manifest).corrections
    assert sum(recorded["relabelled"].values()) == 2
    assert (recorded["excluded"], recorded["not_applied"]) == (1, 2)
    issues, log = layout.issues.read_text("utf-8"), layout.log.read_text("utf-8")
    assert f"label corrected,yes,{APPLE} is now {KAKI}" in issues
    assert "excluded by a correction,no" in issues
    assert "2 labels corrected (" in log and "1 image excluded" in log
    assert "not in the data are not applied: gone.png" in log
    assert "neither the old nor the new one any more are not applied: elsewhere/1_01.png" in log


def test_a_split_of_the_run_is_evaluated_with_its_corrected_labels(fruit, corrected):
    with RunLayout(corrected).split.open(encoding="utf-8") as file:
        rows = [row["label"] for row in csv.DictReader(file) if row["split"] == "train"]
    metrics = evaluate(corrected, fruit, split="train")
    support = {row["name"]: row["support"] for row in metrics["per_class"]}
    assert support == {name: rows.count(name) for name in CLASSES}


def test_a_run_is_reproduced_with_its_own_copy_of_the_corrections(corrected, corrections, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(corrected, copy)
    shutil.copy(corrections, tmp_path / "kept.csv")
    again = reproduce(copy, out=tmp_path / "again", offline=True)
    assert again.verdict == "bit-identical"
    with (copy / "corrections.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(GateError, match="gone or have changed"):
        reproduce(copy, out=tmp_path / "third", offline=True)


def test_a_class_that_the_data_do_not_have_is_refused(fruit, tmp_path):
    file = tmp_path / "c.csv"
    CorrectionsFile(file).append([decided(fruit / APPLE / "1_00.png", "relabel", "plumb")])
    with pytest.raises(DataError, match="the label 'plumb', which is no class") as error:
        finetune(fruit, recipe=load_recipe("vgg16", TINY), out=tmp_path / "run", corrections=file)
    assert "Did you mean 'plum'?" in str(error.value.hint)


@pytest.mark.parametrize("splits", [False, True])
def test_a_corrected_copy_is_laid_out_and_the_images_stay(fruit, corrections, tmp_path, splits):
    source = fruit
    if splits:
        source = tmp_path / "split"
        shutil.copytree(fruit, source / "train")
        shutil.copytree(fruit, source / "test")
    before = contents(source)
    copy = apply_corrections(str(source), corrections, write=tmp_path / "new")
    assert contents(source) == before
    times = 2 if splits else 1
    assert (copy.images, copy.relabelled, copy.excluded) == (23 * times, 2 * times, times)
    parts = ["train", "test"] if splits else ["."]
    for part in parts:
        names = {
            str(path.relative_to(copy.folder / part)) for path in (copy.folder / part).glob("*/*")
        }
        assert f"{PLUM}/1_01-2.png" in names or f"{PLUM}/1_01.png" in names
        assert sum(name.startswith(APPLE) for name in names) == 5
        assert sum(name.startswith(KAKI) for name in names) == 9


class Progress(SilentObserver):
    """Keeps how far each phase got."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def on_phase(self, name: str, detail: str = "") -> None:
        self.done[name] = 0

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        self.done[list(self.done)[-1]] = done


def test_images_that_the_data_have_are_not_added_again(fruit, tmp_path):
    """Neither in the second round of labelling, nor a test image as one for training."""
    source, pool = tmp_path / "split", write_fruit(tmp_path / "pool", n=2, seed=5)
    train, tested = shutil.copytree(fruit, source / "train"), source / "test" / PLUM / "1_00.png"
    tested.parent.mkdir(parents=True)
    (train / PLUM / tested.name).rename(tested)
    moved, new, damaged = train / PLUM / "1_01.png", pool / APPLE / "5_00.png", pool / "damaged.png"
    damaged.write_bytes((pool / KAKI / "5_00.png").read_bytes()[:-300])
    for number, path in enumerate((new, tested, moved)):
        shutil.copy(path, pool / f"{number}.png")
    file = tmp_path / "mine.csv"
    CorrectionsFile(file).append(
        [
            decided(new, "relabel", KAKI, old=""),
            decided(damaged, "relabel", KAKI, old=""),
            decided(tested, "keep"),
            decided(moved, "relabel", KAKI, old=APPLE),  # it has become a plum since
        ]
    )
    seen = Progress()
    first = apply_corrections(source, file, write=tmp_path / "first", add=pool, observer=seen)
    assert (first.images, first.added, first.relabelled, first.not_applied) == (25, 1, 0, 2)
    assert list(seen.done) == ["source", "new images", "audit", "copy"]
    assert seen.done["new images"] == 10
    second = apply_corrections(first.folder, file, write=tmp_path / "second", add=pool)
    assert (second.images, second.added) == (25, 0)


def test_a_corrected_copy_has_no_links_into_the_cache(fruit, corrections, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "fruit"), "zip", fruit)
    with pytest.raises(UsageError, match="links must not refer to them"):
        apply_corrections(packed, corrections, write=tmp_path / "out", how="link")
    assert not (tmp_path / "out").exists()
