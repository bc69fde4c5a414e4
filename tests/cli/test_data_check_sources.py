"""tltool data check: sources of every kind, and invalid ones."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_data_check import found
from tests.conftest import PhotoMaker

pytestmark = pytest.mark.usefixtures("no_weights")


def packed(kind: str) -> Callable[[Path], Path]:
    return lambda root: Path(shutil.make_archive(str(root), kind, root))


def rows_of(root: Path) -> list[dict[str, str]]:
    return [
        {
            "path": str(path.relative_to(root.parent)),
            "label": path.parent.name,
            "split": "test" if "copy" in path.name else "train",
        }
        for path in sorted(root.rglob("*.*"))
    ]


def table(root: Path, extension: str = "csv") -> Path:
    target = root.parent / f"data.{extension}"
    with target.open("w", newline="", encoding="utf-8") as file:
        delimiter = "\t" if extension == "tsv" else ","
        writer = csv.DictWriter(file, ["path", "label", "split"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows_of(root))
    return target


def lines_of_json(root: Path) -> Path:
    target = root.parent / "data.jsonl"
    target.write_text("\n".join(map(json.dumps, rows_of(root))))
    return target


@pytest.mark.parametrize(
    ("make", "named", "kind"),
    [
        (packed("zip"), "photos.zip/cat", "exact duplicate"),
        (packed("gztar"), "photos.tar.gz/cat", "exact duplicate"),
        (table, "photos/cat", "data leakage"),
        (lambda root: table(root, "tsv"), "photos/cat", "data leakage"),
        (lines_of_json, "photos/cat", "data leakage"),
        (lambda root: f"tfds-folder:{root}", "cat", "exact duplicate"),
    ],
    ids=["zip", "tar.gz", "csv", "tsv", "jsonl", "tfds-folder"],
)
def test_other_sources_are_checked_too(
    make: Callable[[Path], Path | str],
    named: str,
    kind: str,
    tltool: Callable[..., Any],
    make_photos: PhotoMaker,
) -> None:
    root = make_photos(n=3, size=80)
    (root / "cat" / "copy.jpg").write_bytes((root / "cat" / "0_001.jpg").read_bytes())
    (root / "dog" / "bad.jpg").write_bytes(b"no image")
    result = tltool("data", "check", make(root), "--json")
    document = json.loads(result.stdout)
    assert (document["images"], document["usable"]) == (8, 7), result.stderr
    assert found(result)["copy.jpg"] == {kind}
    assert found(result)["bad.jpg"] == {"not an image"}
    assert all(f"{named}/" in name for name in document["duplicates"][0]["files"])


def test_a_data_set_is_checked_by_name(
    tltool: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    from tests.data.test_tfds import Shapes

    tfds.disable_progress_bar()
    Shapes(data_dir=tmp_path / "tfds", config="jpeg").download_and_prepare()
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    with tfds.testing.mock_data(num_examples=5, data_dir=str(tmp_path / "tfds")):
        result = tltool("data", "check", "tfds:shapes:jpeg@train", "--offline", "--json")
    document = json.loads(result.stdout)
    assert (document["images"], document["usable"]) == (5, 5), result.stderr
    assert set(document["classes"]["counts"]) <= {"circle", "square"}
    assert Path("data_check").is_dir()
    assert document["source"] == "tfds:shapes:jpeg@train"


def test_an_invalid_zip_is_one_sentence(
    tltool: Callable[..., Any],
    tmp_path: Path,
    the_error: Callable[[Any], str],
    untouched: Callable[[Path], Path],
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photos.zip").write_bytes(b"a letter, not a zip" * 9)
    result = tltool("data", "check", untouched(tmp_path / "in") / "photos.zip", "--json")
    assert result.exit_code == 3
    assert "photos.zip" in the_error(result)
    assert "damaged" in the_error(result)
    assert json.loads(result.stdout)["error"]["exit_code"] == 3
    assert not Path("data_check").exists()


def test_an_unknown_data_set_is_one_sentence(
    tltool: Callable[..., Any], the_error: Callable[[Any], str]
) -> None:
    result = tltool("data", "check", "tfds:tf_flower", "--offline")
    assert result.exit_code == 3
    assert "no data set 'tf_flower'. Did you mean 'tfds:tf_flowers'" in the_error(result)
    assert not Path("data_check").exists()


def test_a_class_of_one_image_is_serious(
    tltool: Callable[..., Any], make_photos: PhotoMaker, untouched: Callable[[Path], Path]
) -> None:
    root = make_photos(n=3, size=80)
    untouched(make_photos(root, classes=("owl",), n=1, seed=1))
    result = tltool("data", "check", root, "--strict", "--json")
    assert result.exit_code == 3
    findings = json.loads(result.stdout)["findings"]
    (small,) = [each for each in findings if "'owl'" in each["detail"]]
    assert (small["kind"], small["severity"]) == ("class too small", "serious")
    assert small["detail"].startswith("class 'owl' has 1 image, too few")


@pytest.mark.parametrize("grey", [True, False])
def test_tiny_grey_images_get_the_recipe_for_digits(
    tltool: Callable[..., Any], tmp_path: Path, grey: bool
) -> None:
    """Grey ones do; a table of tiny colour images does not."""
    rng = np.random.default_rng(0)
    shape = (12, 64) if grey else (12, 64, 3)
    pixels = rng.integers(0, 256, shape).reshape(12, -1)
    columns = ["label", *(f"pixel{n}" for n in range(pixels.shape[1]))]
    rows: list[list[Any]] = [columns, *([n % 2, *row] for n, row in enumerate(pixels.tolist()))]
    table = tmp_path / "digits.csv"
    table.write_text("\n".join(",".join(map(str, row)) for row in rows))
    result = tltool("data", "check", table, *(() if grey else ("--pixels", "8x8x3")))
    following = f"tltool finetune {table} --recipe digit_recognizer --set data.resize=squash"
    assert (following in result.stdout) is grey, result.stdout
    assert ("recipe           ok" in result.stdout) is grey
    assert ("12 tiny" in result.stdout) is not grey  # for that recipe they are large enough


def test_a_table_of_pixels_is_checked_row_by_row(
    tltool: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [[n % 2, *((n * k) % 256 for k in range(1, 65))] for n in (3, 4, 5, 6, 3)]
    columns = ["label", *(f"pixel{n}" for n in range(64))]
    lines: list[list[Any]] = [columns, *rows]
    text = "\n".join(",".join(map(str, row)) for row in lines)
    (tmp_path / "train.csv").write_text(text)
    result = tltool("data", "check", tmp_path / "train.csv", "--image-size", 28, "--json")
    document = json.loads(result.stdout)
    assert document["classes"]["counts"] == {"1": 3, "0": 2}
    (copies,) = document["duplicates"]
    assert copies["exact"]
    assert [Path(name).parts[-2:] for name in copies["files"]] == [
        ("train.csv", "000001.png"),
        ("train.csv", "000005.png"),
    ]
