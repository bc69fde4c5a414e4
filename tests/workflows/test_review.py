"""What a review shows of a run and of a data set."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.workflows.conftest import CLASSES, write_fruit
from tltool.cli.main import app
from tltool.data.corrections.corrections_file import read_corrections
from tltool.errors import DataError, UsageError
from tltool.review.session import ReviewSession
from tltool.runs.layout import RunLayout
from tltool.workflows.apply_corrections import apply_corrections
from tltool.workflows.review import read_review
from tltool.workflows.review_queues.run_views import run_views
from tltool.workflows.review_queues.suggestion_file import Suggestion, write_suggestions
from tltool.workflows.suggest import suggest


def test_a_run_has_queues_from_its_tables(trained):
    data = read_review(str(trained.run))
    names = [queue.name for queue in data.queues]
    assert {"uncertain", "class-0", "class-1", "class-2"} <= set(names)
    assert data.class_names == CLASSES and len(data.images) == 42
    queues = {queue.name: queue for queue in data.queues}
    mistakes = queues.get("mistakes")
    assert mistakes is None or all(
        one.suggested != data.images[one.image].label for one in mistakes.entries
    )
    assert all("predicted " in one.reason for one in queues["uncertain"].entries)


def test_images_with_a_high_ood_score_are_a_queue_the_strangest_first(trained, tmp_path):
    run = RunLayout(shutil.copytree(trained.run, tmp_path / "run"))
    text = run.predictions.read_text("utf-8")
    header, *rows = csv.reader(io.StringIO(text))
    column = header.index("ood_score")
    for number, row in enumerate(rows):
        row[column] = {1: "1.25", 3: "7.5"}.get(number, "0.5")
    with run.predictions.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    data = read_review(str(run.folder), queue="out-of-distribution")
    (queue,) = (one for one in data.queues if one.name == "out-of-distribution")
    files = [data.images[one.image].file for one in queue.entries]
    assert files == [rows[3][0], rows[1][0]]
    assert queue.entries[0].reason.endswith("; out-of-distribution, score 7.50")


def test_a_run_draws_heat_maps_and_finds_neighbours(trained, tmp_path):
    data = read_review(str(trained.run))
    views = run_views(RunLayout(trained.run), data)
    picture = views.heat_map(data.images[0].path, data.images[0].label)
    assert picture.startswith(b"\x89PNG")
    nearest = views.neighbours(0, CLASSES[:2])
    assert [len(rows) for rows in nearest.values()] == [4, 4]
    assert 0 not in nearest[data.images[0].label]
    # With suggestions, the embeddings of the data come from the cache: its files are not read.
    new = next(write_fruit(tmp_path / "new", n=1, seed=9).rglob("*.png"))
    write_suggestions(tmp_path / "next.csv", [Suggestion(new, CLASSES[0], 0.4, "", digest(new))])
    moved = shutil.copytree(trained.photos, tmp_path / "moved")
    data = read_review(str(trained.run), moved, suggestions=tmp_path / "next.csv")
    shutil.rmtree(moved)
    again = run_views(RunLayout(trained.run), data)
    assert again.neighbours(0, CLASSES[:2]) == nearest
    assert [len(rows) for rows in again.neighbours(42, CLASSES).values()] == [4, 4, 4]


def test_images_to_label_next_are_new_ones_without_copies(trained, tmp_path):
    photos = write_fruit(tmp_path / "new", n=3, seed=7)
    shutil.copy(next(trained.photos.glob("*/*.png")), photos / "used.png")
    shutil.copy(photos / CLASSES[0] / "7_00.png", photos / "copy.png")
    (photos / "broken.png").write_bytes(b"\x89PNG")
    output = tmp_path / "next.csv"
    chosen = suggest([photos], run=trained.run, budget=6, output=output)
    assert len(chosen) == 6
    everything = suggest([photos], run=trained.run, budget=99, strategy="random")
    assert len(everything) == 9
    header, *rows = output.read_text("utf-8").splitlines()
    assert header == "path,predicted,confidence,reason,sha256" and len(rows) == 6


def test_suggested_images_are_labelled_in_a_review_and_added_to_a_copy(trained, tmp_path):
    new = write_fruit(tmp_path / "new", n=1, seed=8)
    flat = sorted(new.rglob("*.png"))
    rows = [Suggestion(path, CLASSES[0], 0.4, "unlike others", digest(path)) for path in flat]
    known = next(trained.photos.glob("*/*.png"))
    rows += [Suggestion(known, CLASSES[0], 0.4, "", digest(known))]
    rows += [Suggestion("gone.png", CLASSES[0], 0.4, "", "0" * 64)]
    write_suggestions(tmp_path / "next.csv", rows)
    data = read_review(str(trained.run), suggestions=tmp_path / "next.csv")
    queue = data.queues[0]
    assert (queue.name, len(queue.entries)) == ("suggested", 3)
    assert {(one.suggested, one.reason) for one in queue.entries} == {(CLASSES[0], "unlike others")}
    file = tmp_path / "corrections.csv"
    session = ReviewSession(data, file, "ann")
    first, second, third = (one.image for one in queue.entries)
    with pytest.raises(DataError, match="no label to keep"):
        session.decide([first], "keep")
    session.decide([first], "relabel", CLASSES[1])
    session.decide([second], "relabel", CLASSES[2])
    session.decide([third], "exclude")
    session.decide([0], "relabel", CLASSES[2])
    copy = apply_corrections(trained.photos, file, write=tmp_path / "copy", add=new)
    assert (copy.images, copy.added, copy.relabelled, copy.not_applied) == (44, 2, 1, 1)
    counts = [len(list((tmp_path / "copy" / name).iterdir())) for name in CLASSES]
    assert counts == [13, 15, 16]
    with pytest.raises(DataError, match="has a label already"):
        write_suggestions(tmp_path / "old.csv", [rows[3]])
        read_review(str(trained.run), suggestions=tmp_path / "old.csv")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_whose_images_have_moved_says_how_to_name_the_folder(trained, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained.photos, moved)
    assert read_review(str(trained.run), moved).images[0].path.is_relative_to(moved)
    with pytest.raises(DataError, match="no longer in") as error:
        read_review(str(trained.run), tmp_path / "nowhere")
    assert error.value.hint == "give their new location with --data FOLDER"
    with pytest.raises(UsageError, match="no image here is in a queue 'foo'"):
        read_review(str(trained.run), queue="foo")


def test_a_data_set_has_its_copies_first_where_labels_differ(fruit, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(fruit, photos)
    shutil.copy(photos / CLASSES[0] / "1_00.png", photos / CLASSES[1] / "copy.png")
    (copies, *classes) = read_review(str(photos)).queues
    assert copies.name == "copies" and len(copies.entries) == 2
    assert copies.entries[0].reason == f"exact copies 1: {CLASSES[0]} and {CLASSES[1]}"
    assert [len(queue.entries) for queue in classes] == [8, 9, 8]


def test_labels_go_to_another_program_and_back(trained, tmp_path):
    file, corrections = tmp_path / "labels.json", tmp_path / "corrections.csv"
    command = ["review", str(trained.run), "--corrections", str(corrections)]
    done = CliRunner().invoke(app, [*command, "--export", str(file), "--format", "fiftyone"])
    assert done.exit_code == 0 and f"written {file}" in done.stdout
    document = json.loads(file.read_text("utf-8"))
    name, label = next(iter(document["labels"].items()))
    document["labels"][name] = 1 - min(label, 1)
    file.write_text(json.dumps(document), "utf-8")
    done = CliRunner().invoke(app, [*command, "--import", str(file), "--who", "ann"])
    assert done.exit_code == 0 and "1 other labels and 0 kept ones added" in done.stdout
    assert [row.who for row in read_corrections(corrections)] == ["ann"]
