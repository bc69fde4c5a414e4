"""Thousands of photos: streamed to a file, taken up again, sorted into folders."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tltool as public
from tests.workflows.conftest import contents
from tltool.cli.main import app
from tltool.workflows.models import open_model
from tltool.workflows.sort_photos import folder_name


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def mixed(trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photos, one with a name that a CSV must quote, and one bad file."""
    folder = tmp_path_factory.mktemp("mixed") / "photos"
    folder.mkdir()
    for number, photo in enumerate(sorted((trained.photos / "plum").iterdir())[:5]):
        shutil.copy(photo, folder / f"{number}.png")
    (folder / "4.png").rename(folder / 'a "b",\nc.png')
    (folder / "words.jpg").write_text("these are words")
    return folder


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_answers_go_into_a_file_as_they_come(trained, mixed, tmp_path, kind):
    file = tmp_path / f"answers.{kind}"
    result = tltool("predict", trained.run, mixed, "--top", 2, "--output", file)
    assert result.exit_code == 3  # of the bad file
    assert "wrote 6 answers" in result.stderr and not result.stdout
    told = json.loads(tltool("predict", trained.run, mixed, "--top", 2, "--json").stdout)
    if kind == "jsonl":
        assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == told
        return
    for row, expected in zip(rows_of(file), told, strict=True):
        assert row["path"] == expected["path"]
        assert row["error"] == (expected["error"] or "")
        assert row["class_1"] == (expected["class"] or "")
        assert row["is_known"] == {True: "true", False: "false", None: ""}[expected.get("is_known")]
    assert list(row) == [
        *("path", "error", "class_1", "probability_1", "class_2", "probability_2"),
        *("is_known", "ood_score"),
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_stopped_run_goes_on_where_it_ended(trained, mixed, tmp_path, kind, cut):
    whole, torn = tmp_path / f"whole.{kind}", tmp_path / f"torn.{kind}"
    tltool("predict", trained.run, mixed, "--output", whole)
    torn.write_bytes(whole.read_bytes()[:-cut])
    result = tltool("predict", trained.run, mixed, "--output", torn, "--append")
    assert torn.read_bytes() == whole.read_bytes()
    assert "were in it before" in result.stderr
    again = tltool("predict", trained.run, mixed, "--output", torn, "--append")
    assert again.exit_code == 0 and "wrote 0 answers" in again.stderr
    assert torn.read_bytes() == whole.read_bytes()


def test_a_file_that_exists_is_left_alone(trained, mixed, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("my,own\n1,2\n")
    refused = tltool("predict", trained.run, mixed, "--output", mine)
    assert refused.exit_code == 2 and "--append" in refused.stderr
    other = tltool("predict", trained.run, mixed, "--output", mine, "--append")
    assert other.exit_code == 3 and "something else" in other.stderr
    assert mine.read_text() == "my,own\n1,2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "answers.txt"], ".csv or .jsonl"),
        (["--output", "no/such/folder/answers.csv"], "does not exist"),
        (["--append"], "--output"),
        (["--output", "-", "--json"], "stdout"),
    ],
)
def test_options_that_make_no_sense_are_refused_first(trained, mixed, arguments, message):
    result = tltool("predict", trained.run, mixed, *arguments)
    assert result.exit_code == 2 and message in result.stderr


NOTES = {
    "line.csv": b"milk and eggs",
    "quote.csv": b'lens 5",zoom\nrow2,x\nrow3,y\n',
    "notes.jsonl": b"my notes",
    "own.jsonl": b'{"name": "a", "path": "b"}\n{"name": "c", "pa',
}


@pytest.mark.parametrize("name", NOTES)
def test_a_file_of_the_users_own_is_left_as_it_is(trained, mixed, tmp_path, name):
    file = tmp_path / name
    file.write_bytes(NOTES[name])
    result = tltool("predict", trained.run, mixed, "--output", file, "--append")
    assert result.exit_code == 3
    assert "holds something else" in result.stderr
    assert file.read_bytes() == NOTES[name]


def test_other_columns_are_not_appended(trained, mixed, tmp_path):
    file = tmp_path / "answers.csv"
    tltool("predict", trained.run, mixed / "0.png", "--output", file)
    before = file.read_bytes()
    result = tltool("predict", trained.run, mixed, "--top", 2, "--output", file, "--append")
    assert result.exit_code == 2 and "has the columns" in result.stderr
    assert file.read_bytes() == before


def test_photos_are_sorted_by_copies_and_none_is_lost(trained, mixed, tmp_path):
    before = contents(mixed)
    target = tmp_path / "sorted"
    arguments = ["predict", trained.run, mixed, "--sort-into", target, "--json"]
    told = [row for row in json.loads(tltool(*arguments).stdout) if row["ok"]]
    for row in told:
        (found,) = target.glob(f"*/{Path(row['path']).name}")
        folder = row["class"] if row["confidence"] >= 0.7 else "_unsure"
        assert found.parent.name == (folder if row["is_known"] else "_unknown")
        assert found.read_bytes() == Path(row["path"]).read_bytes()
    assert contents(mixed) == before
    sorted_once = contents(target)
    assert len(sorted_once) == 5
    tltool(*arguments)
    assert contents(target) == sorted_once  # a second run adds nothing


def test_the_unsure_are_apart_and_other_files_are_not_overwritten(trained, mixed, tmp_path):
    target = tmp_path / "sorted"
    (target / "_unsure").mkdir(parents=True)
    (target / "_unsure" / "0.png").write_text("of the user")
    model = ["predict", trained.run, mixed, "--sort-into", target, "--how", "link"]
    result = tltool(*model, "--unsure-below", 1)
    assert (target / "_unsure" / "0.png").read_text() == "of the user"
    links = [path for path in target.rglob("*") if path.is_symlink()]
    assert len(links) == 5 and {link.resolve().parent for link in links} == {mixed.resolve()}
    assert "sorted 5 photos" in result.stderr


def test_photos_are_not_sorted_into_where_they_come_from(trained, mixed, tmp_path):
    result = tltool("predict", trained.run, mixed, "--sort-into", mixed / "sorted")
    assert result.exit_code == 2 and "is inside" in result.stderr
    file = tmp_path / "file"
    file.touch()
    result = tltool("predict", trained.run, mixed, "--sort-into", file)
    assert result.exit_code == 2 and "is a file" in result.stderr


@pytest.mark.parametrize(
    ("name", "folder"),
    [("plum", "plum"), ("../../etc", "_.._etc"), ("..", "_"), ("a\0b:c", "a_b_c"), (" ", "_")],
)
def test_a_class_name_never_leads_out_of_the_folder(name, folder):
    assert folder_name(name) == folder


@pytest.mark.parametrize("model", ["run", "export"])
def test_changed_copies_are_averaged(trained, mixed, model):
    opened = open_model(getattr(trained, model))
    mirror = Image.open(mixed / "1.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = io.BytesIO()
    mirror.save(buffer, "PNG")
    photos = [(mixed / "1.png").read_bytes(), b"junk", buffer.getvalue()]
    plain, flips, crops = (opened.answer(photos, tta=tta) for tta in ("none", "flips", "crops"))
    mean = (plain.probabilities[0] + plain.probabilities[2]) / 2
    np.testing.assert_allclose(flips.probabilities[[0, 2]], [mean, mean], atol=0.01)
    assert np.abs(crops.probabilities - plain.probabilities)[0].max() > 1e-4
    for answers in (flips, crops):
        np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(answers.probabilities[1], 1 / 3)
        np.testing.assert_array_equal(answers.ood_scores, plain.ood_scores)
    with_flips = public.predict(getattr(trained, model), [mixed / "1.png"], top=3, tta="flips")
    assert with_flips[0].top[0][1] == pytest.approx(flips.probabilities[0].max(), abs=1e-5)


def test_evaluate_says_what_averaging_gives(trained):
    plain = json.loads(tltool("evaluate", trained.run, trained.photos, "--json").stdout)
    flips = tltool("evaluate", trained.run, trained.photos, "--tta", "flips")
    document = json.loads(
        tltool("evaluate", trained.run, trained.photos, "--tta", "flips", "--json").stdout
    )
    gain = document["tta"]["accuracy_gain"]
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert document["accuracy"]["value"] - plain["accuracy"]["value"] == pytest.approx(
        gain["value"]
    )
    saved = plain["log_loss"] - document["log_loss"]
    assert document["tta"]["log_loss_gain"]["value"] == pytest.approx(saved, abs=1e-4)
    assert "averaging over flips: " in flips.stdout and "tta" not in plain


MEASURED = """
import resource, sys, threading, time
from tltool.workflows.predict import start_predicting

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

found = start_predicting(sys.argv[1], [sys.argv[2]])
at = {}
for number, answer in enumerate(found.answers):
    assert answer.error is None
    if number in (200, 999):
        at[number] = held()
print(found.count, round(at[999] - at[200]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_photos(trained, tmp_path):
    """A thousand photos of 490 KB each as the model reads them: what is answered is let go."""
    rng = np.random.default_rng(0)
    photos = tmp_path / "many"
    photos.mkdir()
    Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).resize((200, 200)).save(
        photos / "0.jpg"
    )
    for number in range(1, 1000):
        os.link(photos / "0.jpg", photos / f"{number}.jpg")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(trained.run), str(photos)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, grown = map(int, done.stdout.split())
    assert count == 1000
    assert grown < 40, f"{grown} MiB more at the end than after 200 photos"
