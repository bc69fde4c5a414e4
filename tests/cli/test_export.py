"""`tltool export`: one finished run to every format, and its errors."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.conftest import TINY, Tltool
from tests.conftest import unless_thorough, write_photos
from tltool.artifact import load_artifact
from tltool.cli.main import app
from tltool.export import convert, export_formats
from tltool.export.export_formats import FORMATS
from tltool.workflows.export_samples.parity_samples import make_parity_samples

Places = tuple[Path, Path]
FEW = ["saved_model", "litert-int8"]


@pytest.fixture(scope="module", name="places")
def _places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Return the folder of a finished run without an export, and its images."""
    here = tmp_path_factory.mktemp("places")
    photos = write_photos(here / "photos", n=12, size=(60, 50))
    settings = [f"--set={one}" for one in (*TINY, "export.enabled=false", "name=tiny")]
    flags = ["--out", str(here / "run"), "--offline", "--quiet", *settings]
    result = CliRunner().invoke(app, ["finetune", str(photos), *flags])
    assert result.exit_code == 0, result.output
    return here / "run", photos


@pytest.fixture(scope="module", name="everything")
def _everything(request: pytest.FixtureRequest, places: Places) -> tuple[dict[str, Any], Path]:
    """Return the output of one command and its folder; all formats, where thorough tests run."""
    tests = [one for one in request.session.items if "everything" in _fixtures(one)]
    names = [*FORMATS] if any(one.get_closest_marker("thorough") for one in tests) else FEW
    out = places[0].parent / "models"
    command = ["export", str(places[0]), "--format", ",".join(names), "--out", str(out), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), out


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def folder_of(out: Path, name: str) -> Path:
    return out / FORMATS[name].folder("tiny") / "1"


@pytest.mark.slow
@pytest.mark.parametrize("name", unless_thorough([*FORMATS], *FEW))
def test_a_finished_run_is_exported_to_every_format(
    everything: tuple[dict[str, Any], Path], name: str
) -> None:
    document, out = everything
    comparison = {one["format"]: one for one in document["exports"]}[name]
    assert comparison["path"] == str(folder_of(out, name))
    assert comparison["gate_failures"] == []
    assert comparison["n"] > 0 and comparison["same_class"]["value"] == 1
    assert comparison["max_difference"] <= (comparison["tolerance"] or 0.02)
    assert (folder_of(out, name) / FORMATS[name].file).is_file()
    names = {path.name for path in (folder_of(out, name) / "assets").iterdir()}
    assert names == {
        "class_names.json", "decode.json", "metadata.json", "recipe.yaml", "golden.npz",
        "calibration.npz",
    }  # fmt: skip


@pytest.mark.thorough
@pytest.mark.slow
def test_of_the_converted_formats_only_keras_can_be_explained(
    everything: tuple[dict[str, Any], Path], places: Places, tltool: Tltool, tmp_path: Path
) -> None:
    run, photos = places
    photo = sorted(photos.rglob("*.jpg"))[0]
    file = folder_of(everything[1], "keras") / "model.keras"
    pictures = []
    for number, model in enumerate((run, file, file.parent.parent)):
        out = tmp_path / str(number)
        assert tltool("explain", model, photo, "--out", out).exit_code == 0
        with Image.open(next(out.iterdir())) as file_of_map:
            pictures.append(np.asarray(file_of_map, np.int16))
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).mean() < 2  # the run may compute in bfloat16
    for name in set(FORMATS) - {"keras", "saved_model"}:
        result = tltool("explain", folder_of(everything[1], name).parent, photo)
        assert result.exit_code == 2
        assert "has no accessible layers" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", unless_thorough([*FORMATS], "litert-int8"))
def test_check_verifies_an_export_with_its_own_golden_set(
    everything: tuple[dict[str, Any], Path], tltool: Tltool, tmp_path: Path, name: str
) -> None:
    moved = tmp_path / "moved" / "7"
    shutil.copytree(folder_of(everything[1], name), moved)
    result = tltool("export", "--check", moved.parent, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["format"] == name and document["n"] >= 2
    assert document["max_difference"] <= document["tolerance"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["saved_model", "litert-int8"])
def test_a_damaged_export_is_named_by_its_file(
    everything: tuple[dict[str, Any], Path],
    tltool: Tltool,
    the_error: Callable[[Any], str],
    tmp_path: Path,
    name: str,
) -> None:
    shutil.copytree(folder_of(everything[1], name), tmp_path / "copy")
    file = tmp_path / "copy" / FORMATS[name].file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (tmp_path / "copy" / "assets" / "class_names.json").unlink()
    result = tltool("export", "--check", tmp_path / "copy")
    assert result.exit_code == 4
    message = the_error(result)
    assert f"{FORMATS[name].file} has changed since the export" in message
    assert "assets/class_names.json is missing" in message


@pytest.mark.slow
def test_an_export_without_its_golden_set_is_checked_by_its_files(
    everything: tuple[dict[str, Any], Path],
    tltool: Tltool,
    the_error: Callable[[Any], str],
    tmp_path: Path,
) -> None:
    from tltool.export.seal import check_seal

    shutil.copytree(folder_of(everything[1], "saved_model"), tmp_path / "copy")
    (tmp_path / "copy" / "assets" / "golden.npz").unlink()
    assert check_seal(tmp_path / "copy")["format"] == "saved_model"
    result = tltool("export", "--check", tmp_path / "copy")
    assert result.exit_code == 0
    message = " ".join(result.stdout.split())
    assert "no golden set, so its predictions were not verified" in message
    (tmp_path / "copy" / "saved_model.pb").write_bytes(b"other")
    result = tltool("export", "--check", tmp_path / "copy")
    assert result.exit_code == 4
    assert "saved_model.pb has changed since the export" in the_error(result)


@pytest.mark.slow
def test_top_classes_are_as_many_as_the_recipe_says(
    everything: tuple[dict[str, Any], Path],
) -> None:
    from tltool.serving.signatures import read_signatures

    folder = folder_of(everything[1], "saved_model")
    assert "top_k: 5" in (folder / "assets" / "recipe.yaml").read_text(encoding="utf-8")
    names = json.loads((folder / "assets" / "class_names.json").read_text(encoding="utf-8"))
    signatures = read_signatures(folder / "saved_model.pb")
    for name in ("serving_default", "images"):
        shape = signatures[name].outputs["top_class_names"].shape
        assert shape == (-1, min(5, len(names)))


@pytest.mark.slow
def test_every_export_has_the_digest_of_its_data_and_the_licence(
    everything: tuple[dict[str, Any], Path], places: Places
) -> None:
    manifest = json.loads((places[0] / "manifest.json").read_text(encoding="utf-8"))
    for name in [one["format"] for one in everything[0]["exports"]]:
        assets = folder_of(everything[1], name) / "assets"
        facts = json.loads((assets / "metadata.json").read_text(encoding="utf-8"))
        assert facts["data_digest"] == manifest["data_digest"]
        assert facts["licence"] and facts["temperature"] > 0


@pytest.mark.slow
def test_check_detects_an_export_with_other_predictions(
    everything: tuple[dict[str, Any], Path],
    tltool: Tltool,
    the_error: Callable[[Any], str],
    tmp_path: Path,
) -> None:
    from tltool.export.golden import Golden, read_golden
    from tltool.export.seal import read_seal, write_seal

    copy = tmp_path / "copy"
    shutil.copytree(folder_of(everything[1], "litert-int8"), copy)
    golden = read_golden(copy)
    other = Golden(golden.images, golden.probabilities[:, ::-1])
    (copy / "assets" / "golden.npz").write_bytes(other.to_bytes())
    write_seal(copy, {"format": read_seal(copy)["format"]})
    result = tltool("export", "--check", copy)
    assert result.exit_code == 4
    assert "the predictions of the export" in the_error(result)
    assert "have changed" in the_error(result)


@pytest.mark.slow
def test_no_export_contains_a_path_of_this_machine(
    everything: tuple[dict[str, Any], Path], places: Places
) -> None:
    for path in everything[1].rglob("*"):
        if path.is_file():
            assert str(places[0].parent).encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_versions_count_up_and_old_ones_are_pruned(
    places: Places, tltool: Tltool, the_error: Callable[[Any], str], tmp_path: Path
) -> None:
    command = (
        "export",
        places[0] / "model.keras",
        "--format",
        "litert",
        "--out",
        tmp_path / "models",
    )
    base = tmp_path / "models" / "tiny-litert"
    assert tltool(*command).exit_code == 0
    assert tltool(*command, "--version", "9").exit_code == 0
    taken = tltool(*command, "--version", "9")
    assert taken.exit_code == 2 and "version 9 exists" in the_error(taken)
    last = tltool(*command, "--prune", "2", "--json")
    assert json.loads(last.stdout)["pruned"] == [str(base / "1")]
    assert sorted(entry.name for entry in base.iterdir()) == ["10", "9"]
    photos = tmp_path / "models" / "tiny-litert" / "7" / "seven.png"
    photos.parent.mkdir()
    photos.write_bytes(b"a digit")
    result = tltool(*command, "--prune", "1")
    assert result.exit_code == 2 and "7' is not a version of a model" in the_error(result)
    assert photos.read_bytes() == b"a digit"


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_an_error_before_the_work_begins(
    places: Places, tltool: Tltool, the_error: Callable[[Any], str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    result = tltool("export", places[0], "-f", "keras", "--out", tmp_path / "file")
    assert result.exit_code == 5
    assert "cannot be written" in the_error(result)
    assert "images" not in result.stderr and "reference" not in result.stderr
    assert (tmp_path / "file").read_text() == "a file"


@pytest.mark.slow
def test_identical_images_keep_their_labels(places: Places, tltool: Tltool, tmp_path: Path) -> None:
    """The validation images A, A, B, … have labels by position."""
    contents = [path.read_bytes() for path in sorted(places[1].rglob("*.*"))][:4]
    repeated = [contents[0], *contents, contents[2]]
    assert make_parity_samples(load_artifact(places[0]), repeated).images == repeated
    others = write_photos(tmp_path / "others", n=6, seed=5)
    for folder in others.iterdir():
        first, *rest = sorted(folder.iterdir())
        for path in rest:
            shutil.copy(first, path)
    result = tltool(
        "export", places[0], "-f", "litert", "--out", tmp_path / "models", "--data", others,
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["exports"][0]["n"] == len(list(others.rglob("*.*"))) // 2


@pytest.mark.slow
def test_a_wrong_conversion_fails_the_gate_and_leaves_nothing(
    places: Places,
    tltool: Tltool,
    the_error: Callable[[Any], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The int8 file predicts something else; the float file is correct."""
    failing, passing = "litert-int8", "litert"
    correct = convert._litert

    def wrong(endpoint: Any, name: str, calibration: np.ndarray | None) -> bytes:
        if calibration is not None and name == "litert-int8":
            calibration = calibration / 1000
        return correct(endpoint, name, calibration)

    monkeypatch.setattr(convert, "_litert", wrong)
    monkeypatch.setattr(convert, "_with_full_range", lambda images: images)
    result = tltool(
        "export", places[0], "-f", "litert-int8,litert", "--out", tmp_path / "models",
        "--max-drop", "0.1",
    )  # fmt: skip
    assert result.exit_code == 4
    assert "litert-int8 (accuracy drops by" in the_error(result)
    assert "failed" in result.stderr and "passed" in result.stderr
    marks = re.findall(r"^(.) (litert\S*) ", result.stderr, re.MULTILINE)
    assert [name for mark, name in marks if mark in "×x"] == [failing], result.stderr
    assert f"leave out {failing}: --format {passing}" in result.stderr
    accepted = re.search(r"--max-drop ([\d.]+),", result.stderr)
    assert accepted and 0.1 < float(accepted[1]) <= 1
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_images_that_moved_are_found_by_their_content(
    places: Places, tltool: Tltool, the_error: Callable[[Any], str], tmp_path: Path
) -> None:
    shutil.copytree(places[0], tmp_path / "run")
    shutil.copytree(places[1], tmp_path / "elsewhere" / "photos")
    hidden = places[1].rename(places[1].with_name("hidden"))
    command = ("export", tmp_path / "run", "-f", "litert-int8", "--out", tmp_path / "models")
    try:
        missing = tltool(*command)
        assert missing.exit_code == 3
        assert "images of the run are missing" in the_error(missing)
        assert "--data" in missing.stderr
        moved = tltool(*command, "--data", tmp_path / "elsewhere" / "photos")
        assert moved.exit_code == 0, moved.stderr
    finally:
        hidden.rename(places[1])
    others = write_photos(tmp_path / "others", n=3, seed=5)
    assert tltool(*command, "--data", others).exit_code == 0
    strange = write_photos(tmp_path / "strange", n=3, classes=("cat", "cow"))
    result = tltool(*command, "--data", strange)
    assert result.exit_code == 3
    assert "classes that the model does not have: cow" in the_error(result)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nothing", "-f", "onxx"), 2, "Did you mean 'onnx'?"),
        (("nothing", "-f", ","), 2, "no export format given"),
        (("nothing",), 2, "there is no run 'nothing'"),
        (("empty",), 3, "contains no trained model"),
        (("an_export",), 3, "is an export; other formats are exported from its run"),
        (("empty", "--version", "new"), 2, "is not a version number"),
        (("empty", "--version", "0"), 2, "is not a version number"),
        ((), 2, "give either the folder of a run"),
        (("empty", "--check", "empty"), 2, "give either the folder of a run"),
        (("--check", "nothing"), 2, "there is no export"),
        (("--check", "empty"), 3, "contains no export"),
    ],
)
def test_errors_of_export_are_one_sentence(
    tltool: Tltool,
    the_error: Callable[[Any], str],
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    Path("empty").mkdir()
    Path("an_export/1").mkdir(parents=True)
    Path("an_export/1/saved_model.pb").write_bytes(b"")
    result = tltool("export", *arguments)
    assert result.exit_code == code
    assert words in the_error(result)


def test_a_missing_extra_is_named(
    tltool: Tltool, the_error: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        export_formats, "find_spec", lambda name: None if name == "tf2onnx" else object()
    )
    result = tltool("export", "run", "-f", "litert,onnx")
    assert result.exit_code == 5
    assert "the format onnx needs tf2onnx" in the_error(result)
    assert "install 'onnx>=" in result.stderr


def test_an_export_without_a_manifest_cannot_be_checked(
    tltool: Tltool, the_error: Callable[[Any], str], tmp_path: Path
) -> None:
    (tmp_path / "old" / "1").mkdir(parents=True)
    (tmp_path / "old" / "1" / "saved_model.pb").write_bytes(b"")
    result = tltool("export", "--check", tmp_path / "old")
    assert result.exit_code == 3 and "it has no assets.extra/manifest.json" in the_error(result)
