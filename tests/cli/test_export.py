"""`tltool export`: one old run to every format, what is refused, and what is said then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.conftest import TINY, Tltool
from tests.conftest import write_photos
from tltool.cli.main import app
from tltool.export import convert, export_formats
from tltool.export.export_formats import FORMATS

Places = tuple[Path, Path]


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
def _everything(places: Places) -> tuple[dict[str, Any], Path]:
    """Return what the command said of all formats, and where they are."""
    to = places[0].parent / "models"
    command = ["export", str(places[0]), "--format", ",".join(FORMATS), "--out", str(to), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), to


def folder_of(to: Path, name: str) -> Path:
    return to / FORMATS[name].folder("tiny") / "1"


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_an_old_run_is_exported_to_every_format(
    everything: tuple[dict[str, Any], Path], name: str
) -> None:
    document, to = everything
    figures = {one["format"]: one for one in document["exports"]}[name]
    assert figures["path"] == str(folder_of(to, name))
    assert figures["n"] > 0 and figures["same_class"]["value"] == 1
    assert figures["max_difference"] <= (figures["tolerance"] or 0.02)
    assert (folder_of(to, name) / FORMATS[name].file).is_file()
    names = {path.name for path in (folder_of(to, name) / "assets").iterdir()}
    assert names == {
        "class_names.json", "decode.json", "metadata.json", "recipe.yaml", "golden.npz",
        "calibration.npz",
    }  # fmt: skip


@pytest.mark.slow
def test_only_the_keras_file_is_explained_and_like_its_run(
    everything: tuple[dict[str, Any], Path], places: Places, tltool: Tltool, tmp_path: Path
) -> None:
    run, photos = places
    photo = sorted(photos.rglob("*.jpg"))[0]
    file = folder_of(everything[1], "keras") / "model.keras"
    pictures = []
    for number, model in enumerate((run, file, file.parent.parent)):
        to = tmp_path / str(number)
        assert tltool("explain", model, photo, "--out", to).exit_code == 0
        with Image.open(next(to.iterdir())) as picture:
            pictures.append(np.asarray(picture, np.int16))
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).mean() < 2  # the run may compute in bfloat16
    for name in set(FORMATS) - {"keras", "saved_model"}:
        result = tltool("explain", folder_of(everything[1], name).parent, photo)
        assert result.exit_code == 2
        assert "layers cannot be looked into" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_proved_again_from_what_travels_in_it(
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
    said = the_error(result)
    assert f"{FORMATS[name].file} is not as it was exported" in said
    assert "assets/class_names.json is missing" in said


@pytest.mark.slow
def test_an_export_without_its_photos_is_checked_by_its_files(
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
    assert "no golden set, so its answers were not asked" in " ".join(result.stdout.split())
    (tmp_path / "copy" / "saved_model.pb").write_bytes(b"other")
    result = tltool("export", "--check", tmp_path / "copy")
    assert result.exit_code == 4
    assert "saved_model.pb is not as it was exported" in the_error(result)


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
def test_facts_of_the_photos_and_the_weights_travel_along(
    everything: tuple[dict[str, Any], Path], places: Places
) -> None:
    manifest = json.loads((places[0] / "manifest.json").read_text(encoding="utf-8"))
    for name in FORMATS:
        assets = folder_of(everything[1], name) / "assets"
        facts = json.loads((assets / "metadata.json").read_text(encoding="utf-8"))
        assert facts["data_digest"] == manifest["data_digest"]
        assert facts["licence"] and facts["temperature"] > 0


@pytest.mark.slow
def test_an_export_that_answers_otherwise_is_found(
    everything: tuple[dict[str, Any], Path],
    tltool: Tltool,
    the_error: Callable[[Any], str],
    tmp_path: Path,
) -> None:
    from tltool.export.golden import Golden, read_golden
    from tltool.export.seal import read_seal, write_seal

    copy = tmp_path / "copy"
    shutil.copytree(folder_of(everything[1], "litert"), copy)
    golden = read_golden(copy)
    other = Golden(golden.images, golden.probabilities[:, ::-1])
    (copy / "assets" / "golden.npz").write_bytes(other.to_bytes())
    write_seal(copy, {"format": read_seal(copy)["format"]})
    result = tltool("export", "--check", copy)
    assert result.exit_code == 4
    assert "does not answer as it did" in the_error(result)


@pytest.mark.slow
def test_no_export_holds_a_path_of_this_machine(
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
    refused = tltool(*command, "--prune", "1")
    assert refused.exit_code == 2 and "7' is no version of a model" in the_error(refused)
    assert photos.read_bytes() == b"a digit"


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_told_before_the_work_begins(
    places: Places, tltool: Tltool, the_error: Callable[[Any], str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    result = tltool("export", places[0], "-f", "keras", "--out", tmp_path / "file")
    assert result.exit_code == 5
    assert "cannot be written" in the_error(result)
    assert "photos" not in result.stderr
    assert (tmp_path / "file").read_text() == "a file"


@pytest.mark.slow
def test_a_converter_that_lies_leaves_nothing(
    places: Places,
    tltool: Tltool,
    the_error: Callable[[Any], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The int8 file answers something else; the float file beside it is right."""
    honest = convert._litert

    def lie(endpoint: Any, known: Any, calibration: np.ndarray | None) -> bytes:
        if calibration is not None and known.name == "litert-int8":
            calibration = calibration / 1000
        return honest(endpoint, known, calibration)

    monkeypatch.setattr(convert, "_litert", lie)
    monkeypatch.setattr(convert, "_with_both_ends", lambda photos: photos)
    result = tltool(
        "export", places[0], "-f", "litert,litert-int8", "--out", tmp_path / "models",
        "--max-drop", "0.1",
    )  # fmt: skip
    assert result.exit_code == 4
    assert "litert-int8 (accuracy drops by" in the_error(result)
    assert "refused" in result.stderr and "passed" in result.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_photos_that_moved_are_found_by_their_content(
    places: Places, tltool: Tltool, the_error: Callable[[Any], str], tmp_path: Path
) -> None:
    shutil.copytree(places[0], tmp_path / "run")
    shutil.copytree(places[1], tmp_path / "elsewhere" / "photos")
    hidden = places[1].rename(places[1].with_name("hidden"))
    command = ("export", tmp_path / "run", "-f", "litert-int8", "--out", tmp_path / "models")
    try:
        gone = tltool(*command)
        assert gone.exit_code == 3
        assert "images that the run was trained with are gone" in the_error(gone)
        assert "--data" in gone.stderr
        moved = tltool(*command, "--data", tmp_path / "elsewhere" / "photos")
        assert moved.exit_code == 0, moved.stderr
    finally:
        hidden.rename(places[1])
    others = write_photos(tmp_path / "others", n=3, seed=5)
    assert tltool(*command, "--data", others).exit_code == 0
    strange = write_photos(tmp_path / "strange", n=3, classes=("cat", "cow"))
    refused = tltool(*command, "--data", strange)
    assert refused.exit_code == 3 and "does not know the class cow" in the_error(refused)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nothing", "-f", "onxx"), 2, "Did you mean 'onnx'?"),
        (("nothing", "-f", ","), 2, "no export format is named"),
        (("nothing",), 2, "there is no run 'nothing'"),
        (("empty",), 3, "holds no trained model"),
        (("an_export",), 3, "is an export; other formats are made of the run"),
        (("empty", "--version", "new"), 2, "is no version number"),
        (("empty", "--version", "0"), 2, "is no version number"),
        ((), 2, "give the folder of a run"),
        (("empty", "--check", "empty"), 2, "not both"),
        (("--check", "nothing"), 2, "there is no export"),
        (("--check", "empty"), 3, "holds no export"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(
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
    assert "pip install 'tltool[onnx]'" in result.stderr


def test_an_export_without_a_seal_is_said(
    tltool: Tltool, the_error: Callable[[Any], str], tmp_path: Path
) -> None:
    (tmp_path / "old" / "1").mkdir(parents=True)
    (tmp_path / "old" / "1" / "saved_model.pb").write_bytes(b"")
    result = tltool("export", "--check", tmp_path / "old")
    assert result.exit_code == 3 and "it has no assets.extra/manifest.json" in the_error(result)
