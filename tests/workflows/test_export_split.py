"""Exporting a split: equal file names, missing images, and cleanup after an error."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tltool.data.catalog import Catalog, Item
from tltool.data.splits.split import Split
from tltool.errors import DataError, EnvironmentProblem
from tltool.events import SilentObserver
from tltool.workflows.dataset.export_split import How, export_split


def export(target: Path, paths: list[Path], how: How) -> None:
    catalog = Catalog(Path("/photos"), tuple(Item(path, "cat") for path in paths), ("cat",))
    split = Split(("train",) * len(paths), ("",) * len(paths))
    export_split(target, catalog, split, how, SilentObserver())


def test_thousands_of_equal_names_are_numbered_quickly(tmp_path: Path) -> None:
    paths = [Path(f"/photos/cat/{day}/a.jpg") for day in range(3000)]
    paths += [Path("/photos/cat/x/A-2.jpg"), Path("/photos/cat/y/A.JPG")]
    started = time.process_time()
    export(tmp_path / "out", paths, "link")
    assert time.process_time() - started < 5  # trying all numbers for each file took minutes
    names = [path.name for path in (tmp_path / "out/train/cat").iterdir()]
    assert len(names) == 3002
    assert {"a.jpg", "a-2.jpg", "a-3000.jpg", "A-2-2.jpg", "A-3001.JPG"} <= set(names)


def test_a_missing_image_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg cannot be read: No such file"):
        export(tmp_path / "a/b/out", [tmp_path / "gone.jpg"], "copy")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("parent", ["", "a/b"])
def test_a_folder_that_cannot_be_created_leaves_no_parents(tmp_path: Path, parent: str) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        export(tmp_path / parent / ("x" * 300) / "out", [Path("/photos/1.jpg")], "link")
    assert not list(tmp_path.iterdir())
