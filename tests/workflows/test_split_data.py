"""tltool data split: the split, the files it writes, and errors."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.conftest import picture, write_photos
from tests.workflows.conftest import contents
from tltool.cli.main import app
from tltool.events import SilentObserver
from tltool.recipe.schema import DataSection
from tltool.workflows.dataset.dataset import load_dataset


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["data", "split", *map(str, args), "--quiet"])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "split.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def patchwork(seed: int) -> Image.Image:
    """Return an image that is easy to recognise."""
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


def test_splits_are_written_and_duplicates_stay_together(photos, tmp_path):
    before = contents(photos)
    done = run(photos, "--out", tmp_path / "out", "--kfold", 3, "--json")
    assert done.exit_code == 0, done.output
    document, found = json.loads(done.stdout), rows(tmp_path / "out")
    assert list(found[0]) == ["path", "label", "split", "group", "fold"]
    assert {row["path"] for row in found} == {str(photos / name) for name in before}
    for label, count in (("cat", 30), ("dog", 24)):
        counts = document["classes"][label]
        assert sum(counts[split] for split in ("train", "validation", "test")) == count
        assert all(counts.values())
        assert counts["test"] == count - sum(counts[f"fold {n}"] for n in range(3))
        pair = [r for r in found if r["label"] == label and r["group"]]
        assert len(pair) == 2
        assert len({(r["split"], r["fold"], r["group"]) for r in pair}) == 1
    assert contents(photos) == before


def test_split_csv_is_a_source_that_defines_its_splits(photos, tmp_path):
    run(photos, "--out", tmp_path / "out", "--val", 0.3)
    again = run(tmp_path / "out" / "split.csv", "--out", tmp_path / "again", "--seed", 9)
    assert again.exit_code == 0, again.output
    assert [r["split"] for r in rows(tmp_path / "again")] == [
        r["split"] for r in rows(tmp_path / "out")
    ]


@pytest.mark.parametrize("how", ["copy", "link"])
def test_images_are_exported_to_split_folders(photos, tmp_path, how):
    target = tmp_path / "out"
    target.mkdir()  # empty is as good as absent
    done = run(photos, "--out", target, "--how", how, "--test", 0)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in target.iterdir()) == ["split.csv", "train", "validation"]
    for row in rows(target):
        laid = target / row["path"]
        assert laid.is_symlink() == (how == "link")
        assert Path(row["path"]).parts[:2] == (row["split"], row["label"])
    assert sorted(contents(photos).values()) == sorted(
        digest for name, digest in contents(target).items() if name != "split.csv"
    )


def test_equal_file_names_do_not_overwrite_each_other(tmp_path):
    for number in range(4):
        for label in ("cat", "dog"):
            folder = tmp_path / "photos" / label / f"day{number}"
            folder.mkdir(parents=True)
            picture(number * 7 + (label == "dog"), hue=label == "dog").save(folder / "a.png")
    done = run(tmp_path / "photos", "--out", tmp_path / "out", "--how", "copy", "--test", 0)
    assert done.exit_code == 0, done.output
    names = [path.name for path in (tmp_path / "out").rglob("*.png")]
    assert len(names) == 8
    assert set(contents(tmp_path / "photos").values()) <= set(contents(tmp_path / "out").values())


def test_adding_an_image_moves_at_most_one_other_of_its_class_at_each_cut(tmp_path):
    source = write_photos(tmp_path / "photos", n=40, size=24)
    first, *_ = sorted(path.name for path in source.iterdir())
    run(source, "--out", tmp_path / "before", "--kfold", 4)
    added = source / first / "added.png"
    picture(999).resize((24, 24)).save(added)
    run(source, "--out", tmp_path / "after", "--kfold", 4)
    after = {row["path"]: row for row in rows(tmp_path / "after")}
    assert len(after) == 81
    changed = {"split": 0, "fold": 0}
    for row in rows(tmp_path / "before"):
        for column in changed:
            changed[column] += row[column] != after[row["path"]][column]
        assert row["label"] == first or row == after[row["path"]]
    # two cuts; three between the folds, which one image more and one test image less can move
    assert changed["split"] <= 2 and changed["fold"] <= 1 + 2 * 3


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
def test_groups_by_folder_or_pattern_stay_in_one_split(tmp_path, group):
    source = patients(tmp_path / "photos")
    done = run(source, "--group", group, "--out", tmp_path / "out", "--val", 0.3, "--test", 0.3)
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
    done = run(source, "--group", "animal", "--out", tmp_path / "out", "--val", 0.3, "--test", 0)
    assert done.exit_code == 0, done.output
    assert {row["group"] for row in rows(tmp_path / "out")} == {"a", "b", "c", "d"}


def rejected(code: int, *args: object) -> str:
    done = run(*args)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.stderr


def test_every_error_of_data_split_is_one_sentence(photos, tmp_path):
    assert "matches none of the 54 paths" in rejected(3, photos, "--group", "nobody")
    assert "no image is in a folder below" in rejected(3, photos, "--group", "folder")
    assert "invalid regular expression" in rejected(2, photos, "--group", "(")
    assert "'cat' has 1, 'dog' has 1" in rejected(3, photos, "--group", "^[cd]")
    assert "leave no images for training" in rejected(2, photos, "--val", 0.5, "--test", 0.5)
    for share in ("-0.1", "nan", "1"):
        assert f"--val {share} is not a valid share" in rejected(2, photos, "--val", share)
    assert "'--how': 'move' is not one of" in rejected(2, photos, "--how", "move")
    assert "do not split the images" in rejected(2, photos, "--val", 0, "--test", 0)
    assert "one each for 40 folds; 'cat' has" in rejected(3, photos, "--kfold", 40)
    assert "needs a folder" in rejected(2, photos, "--how", "copy")
    assert "inside the folder of the images" in rejected(2, photos, "--out", photos / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "is not empty" in rejected(2, photos, "--out", tmp_path / "mine")
    file = tmp_path / "mine" / "thesis.txt"
    assert "thesis.txt' is a file" in rejected(2, photos, "--out", file)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]
    source = table(tmp_path / "t", "animal", [""])
    assert "no such column (it has 'path'" in rejected(3, source, "--group", "colour")
    assert "the column is empty" in rejected(3, source, "--group", "animal")


def split_folders(root: Path, *names: str) -> Path:
    """Write images of two classes to split folders such as train and val."""
    for seed, name in enumerate(names):
        write_photos(root / name, n=9, size=24, seed=seed)
    return root


@pytest.mark.parametrize(
    ("folders", "option", "message"),
    [
        (("train", "val"), "--test", "defines a validation split, so no split is drawn"),
        (("train", "val"), "--val", "defines a validation split, so no split is drawn"),
        (("train", "test"), "--test", "defines a test split"),
        (("train", "val", "test"), "--test", "defines a test split"),
    ],
)
def test_a_share_of_a_split_of_the_source_is_an_error(tmp_path, folders, option, message):
    source = split_folders(tmp_path / "photos", *folders)
    error = rejected(2, source, option, 0.3, "--out", tmp_path / "out")
    assert f"{option} 0.3 has no effect: {source} {message}" in error
    assert not (tmp_path / "out").exists()
    assert run(source).exit_code == 0
    assert run(source, option, 0, "--kfold", 2).exit_code == 0


def test_with_test_images_of_the_source_validation_is_drawn(tmp_path):
    source = split_folders(tmp_path / "photos", "train", "test")
    done = run(source, "--val", 0.4, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = rows(tmp_path / "out")
    assert {row["split"] for row in found} == {"train", "validation", "test"}
    tested = {row["path"] for row in found if row["split"] == "test"}
    assert tested == {str(path) for path in (source / "test").rglob("*.jpg")}


def pixel_table(path: Path, group: str = "") -> Path:
    """Write 24 images of 4 x 6 pixels; three in a row are of one group."""
    rng = np.random.default_rng(0)
    lines = [
        [n % 2, *([f"{group}{n // 6}"] if group else []), *rng.integers(0, 256, 24)]
        for n in range(24)
    ]
    head = ["label", *(["group"] if group else []), *(f"pixel{n}" for n in range(24))]
    path.write_text("\n".join(",".join(map(str, row)) for row in [head, *lines]) + "\n")
    return path


def test_a_table_of_pixels_is_split_by_groups(tmp_path):
    source = pixel_table(tmp_path / "train.csv", group="film")
    args = ("--pixels", "4x6", "--group", "group", "--val", 0.3, "--test", 0)
    done = run(source, *args, "--how", "copy", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = rows(tmp_path / "out")
    assert len(found) == 24
    of: dict[str, set[str]] = {}
    for row in found:
        of.setdefault(row["group"], set()).add(row["split"])
        with Image.open(tmp_path / "out" / row["path"]) as image:
            assert image.size == (6, 4)
    assert set(of) == {"film0", "film1", "film2", "film3"}
    assert all(len(splits) == 1 for splits in of.values())
    plain = pixel_table(tmp_path / "plain.csv")
    assert "no such column" in rejected(3, plain, "--pixels", "4x6", "--group", "group")


def test_ood_images_are_in_no_split(tmp_path):
    source = write_photos(tmp_path / "photos", classes=("cat", "dog", "street"), n=9, size=24)
    done = run(source, "--ood-images", "street", "--out", tmp_path / "out", "--kfold", 2)
    commands = [shlex.split(line)[1:] for line in done.stdout.splitlines()[-2:]]
    after = ["finetune", str(tmp_path / "out" / "split.csv")]
    after += ["--set", f"data.ood_images={source / 'street'}"]
    assert commands == [[*after, "--kfold", "2"], after]
    assert done.exit_code == 0, done.output
    assert {row["label"] for row in rows(tmp_path / "out")} == {"cat", "dog"}
    assert "no images in 'sky'" in rejected(3, source, "--ood-images", "sky")


@pytest.mark.parametrize("how", ["list", "link"])
def test_images_in_the_cache_must_be_copied(tmp_path, how):
    photos = write_photos(tmp_path / "photos", n=9, size=24)
    source = shutil.make_archive(str(photos), "zip", photos)
    error = rejected(2, source, "--how", how, "--out", tmp_path / "out")
    assert "are in the cache, which can be deleted" in error
    assert "--how copy" in error
    assert not (tmp_path / "out").exists()
    assert run(source).exit_code == 0  # only to look at
    assert run(source, "--how", "copy", "--out", tmp_path / "out").exit_code == 0
    assert all((tmp_path / "out" / row["path"]).is_file() for row in rows(tmp_path / "out"))


def test_nothing_is_written_among_the_images_of_any_source(tmp_path):
    source = table(tmp_path / "t", "animal", ["a"])
    folder = tmp_path / "t"
    before = contents(folder)
    assert "inside the folder of the images" in rejected(2, source, "--out", folder / "cat" / "out")
    error = rejected(2, f"tfds-folder:{folder}", "--out", folder / "out")
    assert "inside the folder of the images" in error
    assert contents(folder) == before


def test_a_class_of_one_image_is_named(tmp_path):
    write_photos(tmp_path / "photos", n=5, size=24)
    write_photos(tmp_path / "photos", classes=["owl"], n=1, size=24, seed=3)
    error = rejected(3, tmp_path / "photos")
    assert "'owl' has 1" in error
    assert "'cat'" not in error


def test_a_split_of_the_source_without_a_class_is_an_error(tmp_path):
    write_photos(tmp_path / "photos" / "train", n=4, size=24)
    write_photos(tmp_path / "photos" / "val", classes=["cat"], n=2, size=24, seed=2)
    assert "validation has no image of 'dog'" in rejected(3, tmp_path / "photos")


def test_leakage_across_the_splits_of_the_source_gives_a_warning(photos, tmp_path):
    """Two images are in train and val, one of them as a near duplicate, and one in two classes."""
    for part, first, count in (("train", 0, 8), ("val", 8, 4)):
        for label in ("cat", "dog"):
            (tmp_path / "parts" / part / label).mkdir(parents=True)
            for number in range(first, first + count):
                name = f"{number:02d}.png"
                shutil.copy(photos / label / name, tmp_path / "parts" / part / label / name)
    train, val = tmp_path / "parts" / "train", tmp_path / "parts" / "val"
    shutil.copy(train / "cat" / "01.png", val / "cat" / "leaked.png")
    shutil.copy(photos / "cat" / "small.jpg", val / "cat" / "small.jpg")
    shutil.copy(train / "cat" / "02.png", train / "dog" / "wrong.png")
    done = CliRunner().invoke(app, ["data", "split", str(tmp_path / "parts")])
    assert done.exit_code == 0, done.output
    output = " ".join(done.stderr.split())
    assert "6 images are duplicates, in 3 clusters (2 exact, 1 near)" in output
    assert "kept in one split" not in output
    assert "data leakage: 2 images are in more than one split (train/cat/0" in output
    pair = "train/cat/02.png = train/dog/wrong.png"
    assert f"label conflict: 1 image is in more than one class ({pair})" in output
    assert "tltool data check" in output and "tltool review corrects labels" in output


def test_duplicates_in_one_split_are_reported_without_a_warning(photos):
    done = CliRunner().invoke(app, ["data", "split", str(photos)])
    output = " ".join(done.stderr.split())
    assert "in 2 clusters (0 exact, 2 near); each cluster is kept in one split" in output
    assert "more than one" not in output


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_run_warns_of_leakage_and_lists_the_files(photos, tmp_path, split):
    """Near duplicates too, whether validation is a split of the source or drawn."""
    root = tmp_path / "parts"
    for label in ("cat", "dog"):
        shutil.copytree(photos / label, root / "train" / label, ignore=lambda *_: ["small.jpg"])
        (root / split / label).mkdir(parents=True)
        shutil.copy(photos / label / "small.jpg", root / split / label)
    shutil.copy(photos / "cat" / "05.png", root / split / "cat" / "leaked.png")
    listener = Listener()
    dataset = load_dataset(
        str(root), test=None, settings=DataSection(), seed=0, offline=True, observer=listener
    )
    warning = " ".join(text for level, text in listener.messages if level == "warning")
    assert "3 images are in more than one split (" in warning
    assert f"tltool data check {root}" in warning
    issues = [i.path.name for i in dataset.audit.issues if i.kind == "duplicate across splits"]
    expected = ["00.png", "00.png", "05.png", "leaked.png", "small.jpg", "small.jpg"]
    assert sorted(issues) == expected


class Listener(SilentObserver):
    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.messages.append((level, text))


def test_file_names_that_are_not_utf8_are_reported_and_kept(tmp_path):
    source = write_photos(tmp_path / "photos", n=6, size=24)
    odd = Path(os.fsdecode(os.fsencode(source / "cat") + b"/caf\xe9.jpg"))
    try:
        shutil.move(next((source / "cat").iterdir()), odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    args = ["data", "split", str(source), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.stderr
    assert "1 file names are not valid UTF-8" in done.stderr
    assert "TensorFlow" not in done.stderr  # only the decoder imports it
    assert b"/caf\xe9.jpg," in (tmp_path / "out" / "split.csv").read_bytes()
    again = CliRunner().invoke(app, ["data", "split", str(tmp_path / "out" / "split.csv")])
    assert again.exit_code == 0, again.stderr
    assert "outside its folder" not in again.stderr


def test_a_name_with_a_line_break_stays_on_its_line(tmp_path):
    source = write_photos(tmp_path / "photos", n=6, size=24)
    for name in ("two\nlines.jpg", "b.jpg", "c.jpg"):
        (source / "cat" / name).write_bytes(b"")
    error = rejected(3, source)
    assert r"cat/two\nlines.jpg: empty" in error
    assert "--set data.max_bad_fraction" in error
    assert "on_bad" not in error


def test_too_few_groups_are_an_error(tmp_path):
    source = write_photos(tmp_path / "photos", n=6, size=24)
    lines = [
        f"{path},{path.parent.name},c{n % 2}"
        for n, path in enumerate(sorted(source.rglob("*.jpg")))
    ]
    file = tmp_path / "data.csv"
    file.write_text("\n".join(["path,label,camera", *lines]))
    error = rejected(3, file, "--group", "camera")
    assert "--group camera gives too few groups for 3 splits: 'cat' has 2, 'dog' has 2" in error
    assert "--test 0" in error
    assert run(file, "--group", "camera", "--test", 0).exit_code == 0
    assert "'--group': it is empty" in rejected(2, source, "--group", "")


def test_class_names_in_two_spellings_are_reported(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos/dog").rename(tmp_path / "photos/Cat")
    done = CliRunner().invoke(app, ["data", "split", str(tmp_path / "photos")])
    assert done.exit_code == 0, done.output
    assert "'Cat' and 'cat' differ only in their spelling" in " ".join(done.output.split())
