"""Cross-validations and sweeps share a folder with earlier runs only if those are their own."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import TINY, fingerprint
from tests.conftest import picture, write_photos
from tltool.data.sources.open import read_source
from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import SilentObserver
from tltool.recipe.schema import DataSection
from tltool.runs.lock import NAME, locked
from tltool.runs.run_options import RunOptions
from tltool.workflows.training_run.run_group import (
    check_same_group,
    group_folder,
    open_run_group,
)

FLAGS = [part for setting in TINY for part in ("--set", setting)]


@pytest.mark.parametrize(
    "command",
    [
        ["finetune", "DATA", "--kfold", "2"],
        ["recipes", "sweep", "vgg16", "DATA", "--grid", "head.dropout=0.1,0.2"],
    ],
)
def test_a_folder_of_the_user_is_refused(
    command: list[str],
    tltool: Callable[..., Any],
    tmp_path: Path,
    make_photos: Callable[..., Path],
    the_error: Callable[[Any], str],
) -> None:
    photos, mine = make_photos(n=3), tmp_path / "mine"
    (mine / "cache").mkdir(parents=True)
    (mine / "cache" / "thesis.txt").write_text("years of work")
    before = fingerprint(mine)
    given = [str(photos) if part == "DATA" else part for part in command]
    result = tltool(*given, "--out", mine, *FLAGS)
    assert result.exit_code == 2
    assert f"'{mine}' is not empty" in the_error(result)
    (mine / "group.json").write_text("no JSON")
    assert tltool(*given, "--out", mine, *FLAGS).exit_code == 2
    assert {name: fingerprint(mine)[name] for name in before} == before


class Source:
    """A table of images, test images and a file of weights, to begin runs with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos = root / "data.csv"
        self.test: Path | None = write_photos(root / "test", n=1, seed=7)
        self.weights: Path | None = root / "weights.h5"
        self.weights.write_bytes(b"weights")
        write_photos(root / "photos", n=3)
        self.rows = [
            f"{path.relative_to(root)},{path.parent.name},{number},{number % 2}"
            for number, path in enumerate(sorted((root / "photos").rglob("*.jpg")))
        ]
        self.write()

    def write(self) -> None:
        self.photos.write_text("\n".join(["path,label,group,fold", *self.rows]))

    def begin(self, out: Path, photos: Path | None = None) -> None:
        source = photos or self.photos
        test = str(self.test) if self.test else None
        with open_run_group(
            out,
            read_source(source, test=self.test),
            RunOptions(str(source), test=test, weights=self.weights),
            SilentObserver(),
        ):
            pass


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source")


@pytest.fixture
def started(source: Source, tmp_path: Path) -> Iterator[Path]:
    """Return a folder with a run; what refuses it must not touch it."""
    out = tmp_path / "out"
    source.begin(out)
    (out / "fold-0").mkdir()
    (out / "fold-0" / "manifest.json").write_text("{}")
    before = fingerprint(out)
    yield out
    after = fingerprint(out)
    assert {**after, NAME: before[NAME]} == before  # the lock is written while it is held


def moved_to_another_class(source: Source) -> None:
    source.rows[0] = source.rows[0].replace(",cat,", ",dog,")


def removed(source: Source) -> None:
    del source.rows[0]


def added(source: Source) -> None:
    picture(5).save(source.root / "new.jpg")
    source.rows.append("new.jpg,cat,9,1")


def changed(source: Source) -> None:
    picture(6).save(source.root / source.rows[0].partition(",")[0])


def in_another_group(source: Source) -> None:
    source.rows[0] = source.rows[0].replace(",cat,0,", ",cat,1,")


def in_another_fold(source: Source) -> None:
    source.rows[0] = f"{source.rows[0][:-1]}1"


def other_test_photos(source: Source) -> None:
    source.test = write_photos(source.root / "test 2", n=1, seed=8)


def changed_test_photo(source: Source) -> None:
    picture(9).save(source.root / "test" / "cat" / "7_000.jpg")


def no_test(source: Source) -> None:
    source.test = None


def other_weights(source: Source) -> None:
    source.weights = source.root / "other.h5"
    source.weights.write_bytes(b"weights")


def changed_weights(source: Source) -> None:
    (source.root / "weights.h5").write_bytes(b"others")


def no_weights(source: Source) -> None:
    source.weights = None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (moved_to_another_class, "other images in the same place"),
        (removed, "other images in the same place"),
        (added, "other images in the same place"),
        (changed, "other images in the same place"),
        (in_another_group, "other images in the same place"),
        (in_another_fold, "other images in the same place"),
        (other_test_photos, "another test source: '.*test'"),
        (changed_test_photo, "other images in the same place"),
        (no_test, "another test source"),
        (other_weights, "another file of weights: '.*weights.h5'"),
        (changed_weights, "another content of the file of weights"),
        (no_weights, "another file of weights"),
    ],
)
def test_runs_are_not_taken_up_for_anything_else(
    change: Callable[[Source], None], text: str, source: Source, started: Path
) -> None:
    source.begin(started)  # the same is taken up
    change(source)
    source.write()
    with pytest.raises(UsageError, match=f"were started with {text}"):
        source.begin(started)


def test_runs_are_not_taken_up_for_a_copy_in_another_place(source: Source, started: Path) -> None:
    copy = source.root / "copy.csv"
    copy.write_bytes(source.photos.read_bytes())
    with pytest.raises(UsageError, match=r"were started with other images: '.*data\.csv'"):
        source.begin(started, copy)


def test_what_has_no_run_yet_is_begun_anew(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source.begin(out)
    removed(source)
    source.write()
    source.begin(out)
    (out / "fold-0").mkdir()
    (out / "fold-0" / "manifest.json").write_text("{}")
    source.begin(out)


def test_a_folder_is_refused_while_another_process_uses_it(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "group"
    source.begin(out)
    with locked(out), pytest.raises(UsageError, match="in use by process"):
        source.begin(out)
    source.begin(out)


@pytest.mark.parametrize("name", ["weights", "corrections"])
def test_another_machine_with_another_file_is_an_error_that_names_it(
    source: Source, tmp_path: Path, name: str
) -> None:
    out, data, path = tmp_path / "group", DataSection(), tmp_path / "file"
    path.write_bytes(b"of the command")
    options = replace(RunOptions(str(source.photos)), **{name: path})
    with open_run_group(out, read_source(source.photos), options, SilentObserver()):
        check_same_group(out, data, options)
        path.write_bytes(b"older")
        with pytest.raises(EnvironmentProblem, match=f"has another file '{path}' than that of"):
            check_same_group(out, data, options)


def test_groups_of_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)
    with (
        group_folder(None, "sweep-x", now=now) as one,
        group_folder(None, "sweep-x", now=now) as two,
    ):
        assert one != two
        (one / "group.json").touch()
    assert one.is_dir()
    assert not two.exists()  # nothing was written into it
