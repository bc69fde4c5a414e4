"""tltool data split: what goes where, what is written, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.conftest import picture, write_photos
from tests.workflows.conftest import contents
from tltool.cli.main import app


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["data", "split", *map(str, args), "--quiet"])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "split.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def patchwork(seed: int) -> Image.Image:
    """Return a picture that is easy to know again."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(patches).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 30 cats and 24 dogs; one of each is a smaller copy of another."""
    folder = tmp_path_factory.mktemp("source") / "photos"
    for label, count in (("cat", 29), ("dog", 23)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            patchwork(100 * count + number).save(folder / label / f"{number:02d}.png")
        patchwork(100 * count).resize((60, 60)).save(folder / label / "small.jpg", quality=85)
    return folder


def test_parts_are_listed_and_copies_stay_together(photos, tmp_path):
    before = contents(photos)
    done = run(photos, "--write", tmp_path / "out", "--kfold", 3, "--json")
    assert done.exit_code == 0, done.output
    document, found = json.loads(done.stdout), rows(tmp_path / "out")
    assert list(found[0]) == ["path", "label", "split", "group", "fold"]
    assert {row["path"] for row in found} == {str(photos / name) for name in before}
    for label, count in (("cat", 30), ("dog", 24)):
        told = document["classes"][label]
        assert sum(told[part] for part in ("train", "validation", "test")) == count
        assert all(told.values())
        assert told["test"] == count - sum(told[f"fold {n}"] for n in range(3))
        pair = [r for r in found if r["label"] == label and r["group"]]
        assert len(pair) == 2
        assert len({(r["split"], r["fold"], r["group"]) for r in pair}) == 1
    assert contents(photos) == before


def test_the_list_is_a_source_that_gives_its_parts(photos, tmp_path):
    run(photos, "--write", tmp_path / "out", "--val", 0.3)
    again = run(tmp_path / "out" / "split.csv", "--write", tmp_path / "again", "--seed", 9)
    assert again.exit_code == 0, again.output
    assert [r["split"] for r in rows(tmp_path / "again")] == [
        r["split"] for r in rows(tmp_path / "out")
    ]


@pytest.mark.parametrize("how", ["copy", "link"])
def test_photos_are_laid_out_part_by_part(photos, tmp_path, how):
    target = tmp_path / "out"
    target.mkdir()  # empty is as good as absent
    done = run(photos, "--write", target, "--how", how, "--test", 0)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in target.iterdir()) == ["split.csv", "train", "validation"]
    for row in rows(target):
        laid = target / row["path"]
        assert laid.is_symlink() == (how == "link")
        assert Path(row["path"]).parts[:2] == (row["split"], row["label"])
    assert sorted(contents(photos).values()) == sorted(
        digest for name, digest in contents(target).items() if name != "split.csv"
    )


def test_equal_names_of_other_folders_do_not_overwrite_each_other(tmp_path):
    for number in range(4):
        for label in ("cat", "dog"):
            folder = tmp_path / "photos" / label / f"day{number}"
            folder.mkdir(parents=True)
            picture(number * 7 + (label == "dog"), hue=label == "dog").save(folder / "a.png")
    done = run(tmp_path / "photos", "--write", tmp_path / "out", "--how", "copy", "--test", 0)
    assert done.exit_code == 0, done.output
    names = [path.name for path in (tmp_path / "out").rglob("*.png")]
    assert len(names) == 8
    assert set(contents(tmp_path / "photos").values()) <= set(contents(tmp_path / "out").values())


def test_adding_photos_moves_no_other(tmp_path):
    source = write_photos(tmp_path / "photos", n=40, size=24)
    run(source, "--write", tmp_path / "before", "--kfold", 4)
    write_photos(source, n=25, size=24, seed=5)
    run(source, "--write", tmp_path / "after", "--kfold", 4)
    after = {row["path"]: row for row in rows(tmp_path / "after")}
    assert len(after) == 130
    # photos that the noise makes near copies of new ones may move with them: none here
    assert [after[row["path"]] for row in rows(tmp_path / "before")] == rows(tmp_path / "before")


def patients(root: Path) -> Path:
    for label in ("ill", "well"):
        for patient in range(6):
            folder = root / label / f"p{patient}"
            folder.mkdir(parents=True)
            for number in range(3):
                name = f"{label}-patient{patient}-{number}.png"
                picture(hash(name) % 2**31, hue=label == "ill").save(folder / name)
    return root


@pytest.mark.parametrize("group", ["folder", "patient[0-9]+", "(p[0-9])/"])
def test_groups_by_folder_or_pattern_stay_whole(tmp_path, group):
    source = patients(tmp_path / "photos")
    done = run(source, "--group", group, "--write", tmp_path / "out", "--val", 0.3, "--test", 0.3)
    assert done.exit_code == 0, done.output
    parts: dict[str, set[str]] = {}
    for row in rows(tmp_path / "out"):
        assert row["group"]
        parts.setdefault(row["group"], set()).add(row["split"])
    assert all(len(found) == 1 for found in parts.values())
    # an expression takes patient 3 for one, ill or well; folders have their own names
    assert len(parts) == (12 if group == "folder" else 6)


def table(folder: Path, column: str, values: list[str]) -> Path:
    write_photos(folder, classes=["cat", "dog"], n=6, size=24)
    paths = sorted(folder.rglob("*.jpg"))
    lines = [
        f"{p.relative_to(folder)},{p.parent.name},{v}"
        for p, v in zip(paths, values * 12, strict=False)
    ]
    (folder / "data.csv").write_text("\n".join([f"path,label,{column}", *lines]) + "\n")
    return folder / "data.csv"


def test_groups_by_a_column_of_the_table(tmp_path):
    source = table(tmp_path, "animal", ["a", "a", "b", "c", "c", "d"])
    done = run(source, "--group", "animal", "--write", tmp_path / "out", "--val", 0.3, "--test", 0)
    assert done.exit_code == 0, done.output
    assert {row["group"] for row in rows(tmp_path / "out")} == {"a", "b", "c", "d"}


def refused(code: int, *args: object) -> str:
    done = run(*args)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.stderr


def test_what_cannot_be_divided_is_refused_in_one_sentence(photos, tmp_path):
    assert "matches none of the 54 paths" in refused(3, photos, "--group", "nobody")
    assert "no photo lies in a folder below" in refused(3, photos, "--group", "folder")
    assert "no regular expression" in refused(2, photos, "--group", "(")
    assert "'cat' has 1, 'dog' has 1" in refused(3, photos, "--group", "^[cd]")
    assert "leave nothing for training" in refused(2, photos, "--val", 0.5, "--test", 0.5)
    assert "leave nothing for training" in refused(2, photos, "--val", -0.1)
    assert "divide nothing" in refused(2, photos, "--val", 0, "--test", 0)
    assert "one each for 40 folds; 'cat' has" in refused(3, photos, "--kfold", 40)
    assert "needs a folder" in refused(2, photos, "--how", "copy")
    assert "lies inside the photos" in refused(2, photos, "--write", photos / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "is not empty" in refused(2, photos, "--write", tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]
    source = table(tmp_path / "t", "animal", [""])
    assert "no such column (it has 'path'" in refused(3, source, "--group", "colour")
    assert "the column is empty" in refused(3, source, "--group", "animal")


def test_a_class_of_one_photo_is_named(tmp_path):
    write_photos(tmp_path / "photos", n=5, size=24)
    write_photos(tmp_path / "photos", classes=["owl"], n=1, size=24, seed=3)
    told = refused(3, tmp_path / "photos")
    assert "'owl' has 1" in told
    assert "'cat'" not in told


def test_a_part_that_the_source_gives_without_a_class_is_named(tmp_path):
    write_photos(tmp_path / "photos" / "train", n=4, size=24)
    write_photos(tmp_path / "photos" / "val", classes=["cat"], n=2, size=24, seed=2)
    assert "validation has no photo of 'dog'" in refused(3, tmp_path / "photos")
