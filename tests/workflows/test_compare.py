"""tltool compare: runs on the same images, backbones on one data set, and errors."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.engine.local_engine import LocalEngine
from tests.workflows.conftest import contents
from tltool.cli.main import app
from tltool.engine import cluster_address
from tltool.errors import EnvironmentProblem
from tltool.runs.layout import RunLayout
from tltool.runs.lock import is_locked
from tltool.runs.manifest import read_manifest, write_manifest
from tltool.workflows import compare_backbones
from tltool.workflows.dataset.backbone_probes import BackboneProbes
from tltool.workflows.workers import TABLE


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def other(trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of a run with different predictions for some images."""
    run = tmp_path_factory.mktemp("other") / "worse"
    shutil.copytree(trained.run, run)
    rewrite(run / "predictions.csv", inverted)
    return run


def inverted(row: dict[str, str], number: int) -> dict[str, str]:
    """Correct every second prediction if it was wrong, and make it wrong if it was correct."""
    if number % 2:
        return row
    wrong = "plum" if row["label"] != "plum" else "green apple"
    return row | {"predicted": wrong if row["predicted"] == row["label"] else row["label"]}


def grouped(row: dict[str, str], number: int) -> dict[str, str]:
    """Put the first nine images into three groups."""
    return row | {"group": f"film {number % 3}" if number < 9 else ""}


def rewrite(path: Path, change: Callable[[dict[str, str], int], dict[str, str]]) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [change(row, number) for number, row in enumerate(csv.DictReader(file))]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def hits(run: Path) -> list[bool]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return [row["label"] == row["predicted"] for row in csv.DictReader(file)]


def test_the_comparison_is_that_of_the_predictions(trained, other):
    document = json.loads(tltool("compare", trained.run, other, "--json").stdout)
    first, second = hits(trained.run), hits(other)
    (found,) = document["comparisons"]
    assert document["n"] == len(first)
    assert found["only_first"] == sum(a and not b for a, b in zip(first, second, strict=True))
    assert found["only_second"] == len(found["only_second_correct"])
    assert found["difference"] == pytest.approx((sum(second) - sum(first)) / len(first))
    cost = document["runs"][0]["cost"]
    assert cost["parameters"] > 6000 and cost["milliseconds"] > 0 and cost["train_seconds"] > 0


def test_a_sentence_states_the_result(trained, other):
    result = tltool("compare", trained.run, other)
    assert result.exit_code == 0
    assert "is better than" in result.stdout or "no significant difference between" in result.stdout
    assert "parameters" in result.stdout


def test_an_export_stands_for_its_run_and_three_are_corrected(
    trained, other, tmp_path, monkeypatch
):
    third = shutil.copytree(other, tmp_path / "third")
    (tmp_path / "runs").mkdir()
    shutil.copytree(trained.run, tmp_path / "runs" / "run")
    monkeypatch.chdir(tmp_path)
    document = json.loads(tltool("compare", trained.export, other, third, "--json").stdout)
    assert [row["name"] for row in document["runs"]] == ["run", "worse", "third"]
    for one in document["comparisons"]:
        assert one["adjusted"] == pytest.approx(min(1, 2 * one["p_value"]))


def test_the_images_of_one_group_count_together(trained, other, tmp_path):
    one, two = (shutil.copytree(run, tmp_path / run.name) for run in (trained.run, other))
    alone = json.loads(tltool("compare", one, two, "--json").stdout)["comparisons"][0]
    for run in (one, two):
        rewrite(run / "predictions.csv", grouped)
    document = json.loads(tltool("compare", one, two, "--json").stdout)
    (found,) = document["comparisons"]
    assert alone["groups"] is None and alone["effective_n"] == document["n"]
    assert found["groups"] == document["n"] - 6
    assert found["effective_n"] < document["n"]
    assert found["high"] - found["low"] > alone["high"] - alone["low"]
    assert f"n = {document['n']} in {found['groups']} groups" in found["verdict"]


def test_the_report_shows_images_that_only_one_run_classifies_correctly(trained, other, tmp_path):
    page = tmp_path / "page.html"
    assert tltool("compare", trained.run, other, "--report", page).exit_code == 0
    text = page.read_text("utf-8")
    document = json.loads(tltool("compare", trained.run, other, "--json").stdout)
    (found,) = document["comparisons"]
    assert text.count("<figure>") == found["only_first"] + found["only_second"] > 0
    assert text.count("data:image/jpeg") == text.count("<figure>")
    assert "http://" not in text and "https://" not in text
    assert found["only_first_correct"][0] in text
    again = tltool("compare", trained.run, other, "--report", page)
    assert again.exit_code == 2 and "no file is replaced" in again.stderr
    assert page.read_text("utf-8") == text


def test_missing_images_are_listed_without_a_thumbnail(trained, other, tmp_path):
    moved = shutil.copytree(trained.run, tmp_path / "moved")
    move_photos(moved, tmp_path / "nowhere")
    page = tmp_path / "page.html"
    assert tltool("compare", moved, other, "--report", page).exit_code == 0
    assert "no image" in page.read_text("utf-8")


def move_photos(run: Path, photos: Path) -> None:
    """Change the path of the images in the manifest of the run."""
    path = run / "manifest.json"
    manifest = read_manifest(path)
    write_manifest(path, replace(manifest, options=replace(manifest.options, data=str(photos))))


def test_a_changed_image_is_not_shown(trained, other, tmp_path):
    photos = shutil.copytree(trained.photos, tmp_path / "photos")
    for path in photos.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b" edited")
    moved = shutil.copytree(trained.run, tmp_path / "moved")
    move_photos(moved, photos)
    page = tmp_path / "page.html"
    assert tltool("compare", moved, other, "--report", page).exit_code == 0
    text = page.read_text("utf-8")
    assert text.count("no image") == text.count("<figure>") > 0


def forget_digest(run: Path) -> None:
    """Make the run one of other images, instead of one whose table was changed."""
    path = RunLayout(run).manifest
    write_manifest(path, replace(read_manifest(path), data_digest=None))


def test_different_images_are_rejected(trained, other, tmp_path):
    shorter = shutil.copytree(other, tmp_path / "shorter")
    for name in ("split.csv", "predictions.csv"):
        lines = (shorter / name).read_text("utf-8").splitlines(keepends=True)
        part = [number for number, text in enumerate(lines) if ",validation," in text]
        del lines[part[-1] if name == "split.csv" else -1]
        (shorter / name).write_text("".join(lines), "utf-8")
    forget_digest(shorter)
    result = tltool("compare", trained.run, shorter)
    assert result.exit_code == 3
    assert "different images" in result.stderr and "1 only in the validation set" in result.stderr


def test_different_labels_are_rejected(trained, other, tmp_path):
    renamed = shutil.copytree(other, tmp_path / "renamed")
    for name in ("split.csv", "predictions.csv"):
        text = (renamed / name).read_text("utf-8")
        (renamed / name).write_text(text.replace(",plum,", ",quince,"), "utf-8")
    forget_digest(renamed)
    result = tltool("compare", trained.run, renamed)
    assert result.exit_code == 3 and "different labels" in result.stderr


def test_tables_that_do_not_match(trained, other, tmp_path):
    cut = shutil.copytree(other, tmp_path / "cut")
    lines = (cut / "predictions.csv").read_text("utf-8").splitlines(keepends=True)
    (cut / "predictions.csv").write_text("".join(lines[:-1]), "utf-8")
    result = tltool("compare", trained.run, cut)
    assert result.exit_code == 3 and "do not match" in result.stderr


def test_what_cannot_be_compared(trained, other, tmp_path):
    alone = tltool("compare", trained.run)
    assert alone.exit_code == 2 and "start" not in alone.stderr
    assert tltool("compare", trained.run, trained.run).exit_code == 2
    assert tltool("compare", trained.run, tmp_path / "none").exit_code == 2
    assert tltool("compare", trained.run, tmp_path).exit_code == 3
    assert tltool("compare", trained.run, other, "--image-size", 64).exit_code == 2
    far = shutil.copytree(trained.export, tmp_path / "far" / "1")
    result = tltool("compare", other, far)
    assert result.exit_code == 3 and "is not found" in result.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_a_leaderboard_of_backbones(trained, monkeypatch, tmp_path):
    names = "tiny_vgg,tiny_resnet"
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path))
    options = ("--backbones", names, "--image-size", 32, "--offline")
    result = tltool("compare", trained.photos, *options, "--weights", "random", "--json")
    document = json.loads(result.stdout)
    assert document["n"] == 42 and document["classes"] == 3 and not document["skipped"]
    entries = document["backbones"]
    assert {entry["backbone"] for entry in entries} == set(names.split(","))
    values = [entry["accuracy"]["value"] for entry in entries]
    assert values == sorted(values, reverse=True)
    assert entries[0]["against_best"] is None
    assert all(entry["against_best"]["difference"] <= 0 for entry in entries[1:])
    assert next(e for e in entries if e["backbone"] == "tiny_vgg")["features"] == 32
    one = ("--backbones", "tiny_vgg", *options[2:])
    again = json.loads(
        tltool("compare", trained.photos, *one, "--weights", "random", "--json").stdout
    )
    by_name = {entry["backbone"]: entry["accuracy"] for entry in entries}
    assert [e["accuracy"] for e in again["backbones"]] == [by_name["tiny_vgg"]]


def test_a_folder_of_ood_images_is_no_class_on_the_leaderboard(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path))
    photos = shutil.copytree(trained.photos, tmp_path / "photos")
    shutil.copytree(photos / "plum", photos / "other")
    options = ("--backbones", "tiny_vgg", "--image-size", 32, "--weights", "random", "--json")
    document = json.loads(tltool("compare", photos, *options, "--ood-images", "other").stdout)
    assert document["n"] == 42 and document["classes"] == 3
    assert tltool("compare", trained.run, trained.run, "--ood-images", "other").exit_code == 2


def test_features_by_workers_give_the_same_leaderboard(trained, monkeypatch, tmp_path):
    """In any order; the workers are in this process. No other command may clean up meanwhile."""

    class Backwards(LocalEngine):
        def map(self, work, numbers):
            assert is_locked(Path(work.arguments["folder"]).parent)
            return super().map(work, reversed(numbers))

    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    engine = nullcontext(Backwards(TABLE))
    monkeypatch.setattr(compare_backbones, "open_workers",
                        lambda where, **_: engine if where else nullcontext())  # fmt: skip
    names, documents, files = ("one", "many"), [], []
    for name in names:
        monkeypatch.setenv("TLTOOL_DATA_DIR", str(tmp_path / name))
        options = ("--backbones", "tiny_vgg", "--image-size", 32, "--weights", "random", "--json")
        where = () if name == "one" else ("--cluster", "auto")
        document = json.loads(tltool("compare", trained.photos, *options, *where).stdout)
        documents.append([{**one, "seconds_per_image": 0} for one in document["backbones"]])
        files.append({file: digest for file, digest in contents(tmp_path / name).items()
                      if file.endswith(".bin")})  # fmt: skip
    assert documents[0] == documents[1]
    assert files[0] == files[1] and len(files[0]) == 3


def test_a_backbone_without_weights_is_skipped_with_the_reason(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr(BackboneProbes, "evaluate", without("vgg16", BackboneProbes.evaluate))
    options = ("--backbones", "tiny_vgg,vgg16", "--image-size", 32, "--weights", "random")
    result = tltool("compare", trained.photos, *options)
    assert result.exit_code == 0
    assert "skipped: vgg16: no weights; pull them" in result.stdout
    assert result.stderr.count("no weights") == 0 and "vgg16 is skipped" in result.stderr
    assert "tiny_vgg is the only backbone that was evaluated" in result.stdout


def without(name: str, evaluate: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate_others(probes: Any, backbone: Any) -> Any:
        if backbone.name == name:
            raise EnvironmentProblem("no weights", hint="pull them")
        return evaluate(probes, backbone)

    return evaluate_others


def test_without_any_weights_the_error_names_every_reason(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path))
    result = tltool("compare", trained.photos, "--backbones", "resnet50,vgg16", "--offline")
    assert result.exit_code == 5
    for name in ("resnet50", "vgg16"):
        assert f"weights of {name} are not available" in " ".join(result.stderr.split())


def test_an_unknown_backbone(trained):
    result = tltool("compare", trained.photos, "--backbones", "vgg61")
    assert result.exit_code == 2 and "Did you mean 'vgg1" in result.stderr
    assert "start" not in result.stderr  # before TensorFlow is loaded, which takes seconds
