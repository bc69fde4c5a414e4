"""tltool data check: where its report goes, and what it never replaces."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_data_check_sources import table
from tests.conftest import PhotoMaker, unless_thorough

pytestmark = pytest.mark.usefixtures("no_weights")


def test_the_report_is_never_written_among_the_images(
    tltool: Callable[..., Any],
    make_photos: PhotoMaker,
    the_error: Callable[[Any], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = make_photos(n=2)
    result = tltool("data", "check", root, "--out", root / "report")
    assert result.exit_code == 2
    assert "folder of the images" in the_error(result)
    monkeypatch.chdir(root)
    assert tltool("data", "check", ".").exit_code == 2
    assert sorted(path.name for path in root.iterdir()) == ["cat", "dog"]


@pytest.mark.parametrize("inside", ["report", "cat/report"])
@pytest.mark.parametrize("spelled", ["{root}", "tfds-folder:{root}", "{root}/../data.csv"])
def test_no_report_is_written_among_the_images_of_any_source(
    spelled: str,
    inside: str,
    tltool: Callable[..., Any],
    make_photos: PhotoMaker,
    the_error: Callable[[Any], str],
) -> None:
    root = make_photos(n=2)
    table(root)
    result = tltool("data", "check", spelled.format(root=root), "--out", root / inside)
    assert result.exit_code == 2
    assert "folder of the images" in the_error(result)
    assert sorted(path.name for path in root.iterdir()) == ["cat", "dog"]


def test_a_report_next_to_a_table_and_its_images_is_allowed(
    tltool: Callable[..., Any], make_photos: PhotoMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_photos(n=2)
    table(root)
    monkeypatch.chdir(root.parent)
    assert tltool("data", "check", "data.csv").exit_code == 0
    assert Path("data_check/data.csv/data_report.html").is_file()


@pytest.mark.parametrize("name", ["data_report.html", "data_issues.csv"])
def test_no_file_of_another_kind_is_replaced(
    name: str,
    tltool: Callable[..., Any],
    make_photos: PhotoMaker,
    tmp_path: Path,
    the_error: Callable[[Any], str],
) -> None:
    """The audit of a run writes a ``data_issues.csv`` with other columns."""
    run = tmp_path / "run"
    run.mkdir()
    (run / name).write_text("path,kind,used,detail\n")
    result = tltool("data", "check", make_photos(n=2), "--out", run)
    assert result.exit_code == 2
    assert f"'{run / name}' exists" in the_error(result)
    assert [path.read_text() for path in run.iterdir()] == ["path,kind,used,detail\n"]


def test_every_source_has_its_own_report_which_a_second_check_replaces(
    tltool: Callable[..., Any], make_photos: PhotoMaker, tmp_path: Path
) -> None:
    first, second = make_photos(n=2), make_photos(tmp_path / "other" / "photos", n=3)
    for _ in range(2):
        tltool("data", "check", first, "--quiet")
        tltool("data", "check", second, "--quiet")
    pages = {
        path.parent.name: path.read_text() for path in Path("data_check").rglob("data_report.html")
    }
    assert set(pages) == {"photos", "photos-2"}
    assert f"<title>Data check: {first}</title>" in pages["photos"]
    assert f"<title>Data check: {second}</title>" in pages["photos-2"]
    assert tltool("data", "check", second, "--out", "data_check/photos").exit_code == 0


def test_no_cell_of_the_table_starts_like_a_formula(
    tltool: Callable[..., Any],
    make_photos: PhotoMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("=cmd|' /C calc'!A0", "@sum(1)", "-1+1", "+1")
    root = make_photos(classes=names, n=2)
    for name in names:
        (root / name / "bad.jpg").write_bytes(b"")
    monkeypatch.chdir(root)
    tltool("data", "check", ".", "--out", tmp_path / "report")
    with (tmp_path / "report" / "data_issues.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    bad = {row["path"] for row in rows if row["kind"] == "empty"}
    assert bad == {f"'{name}/bad.jpg" for name in names}
    assert not [cell for row in rows for cell in row.values() if cell[:1] in set("=+-@")]


def test_the_next_command_has_the_settings_of_the_check(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(classes=("ants", "bees", "a street"), n=4)
    options = ("--ood-images", "a street", "--image-size", 64)
    result = tltool("data", "check", root, *options)
    assert result.exit_code == 0, result.stderr
    words = shlex.split(result.stdout.splitlines()[-1])
    assert words[:4] == ["tltool", "finetune", str(root), "--set"]
    assert words[5:] == ["--set", "data.ood_images=a street", "--set", "data.image_size=64"]


@pytest.mark.parametrize("where", unless_thorough(["file/x", "photos/report"], "photos/report"))
def test_an_invalid_report_folder_is_an_error_before_anything_is_read(
    where: str, make_photos: PhotoMaker, tmp_path: Path
) -> None:
    make_photos(n=2)
    (tmp_path / "file").write_text("")
    script = (
        "import sys; from typer.testing import CliRunner; from tltool.cli.main import app\n"
        "done = CliRunner().invoke(app, ['data', 'check', 'photos', '--out', sys.argv[1]])\n"
        "print(done.exit_code, 'tensorflow' in sys.modules, done.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, where],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.startswith("2 False error: ")
    assert "is a file" in done.stdout or "folder of the images" in done.stdout


def test_names_that_are_not_utf8_are_escaped(
    tltool: Callable[..., Any], make_photos: PhotoMaker
) -> None:
    root = make_photos(n=3)
    try:
        Path(os.fsdecode(os.fsencode(root / "cat") + b"/caf\xe9.jpg")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such name")
    result = tltool("data", "check", root, "--out", "report", "--json")
    assert result.exit_code == 0, result.stderr
    paths = [finding["path"] or "" for finding in json.loads(result.stdout)["findings"]]
    name = str(root / r"cat/caf\udce9.jpg")
    assert name in paths
    with Path("report/data_issues.csv").open(encoding="utf-8", newline="") as file:
        assert name in {row["path"] for row in csv.DictReader(file)}
