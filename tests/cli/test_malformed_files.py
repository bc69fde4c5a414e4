"""Malformed files: one sentence that names the file, a stable exit code, no internal error."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.conftest import PhotoMaker, small_manifest
from tltool.runs.manifest import write_manifest
from tltool.workflows.pack_run import pack

DEEP = b"[" * 50_000 + b"]" * 50_000
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "not UTF-8": lambda content: b"\xff\xfe\x00\xd8" + content,
    "flipped": lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    "nested": lambda content: DEEP,
    "a list": lambda content: b'[1, {"a": null}]',
    "null": lambda content: b"null",
    "a text": lambda content: b"Not found\n",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run without a model."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    write_manifest(folder / "manifest.json", small_manifest())
    rate = {"value": 0.9, "low": 0.8, "high": 1.0}
    metrics = {"split": "test", "n": 10, "accuracy": rate, "log_loss": 0.2, "validation": None}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "recipe.yaml").write_text("name: one\n")
    for name in ("split.csv", "history.csv", "predictions.csv"):
        (folder / name).write_text("path,label,split,sha256\n")
    return folder


def check(result: Any, path: Path, the_error: Callable[[Any], str]) -> None:
    """Either the file is still valid, or the error names it."""
    assert result.exit_code in (0, 2, 3, 4), result.stderr
    if result.exit_code:
        assert path.name in the_error(result)
    assert "internal error" not in result.stdout + result.stderr


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["manifest.json", "metrics.json"])
def test_a_damaged_file_of_a_run_is_named(name, damage, run, tltool, the_error):
    path = run / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    shown = tltool("runs", "show", run)
    check(shown, path, the_error)
    assert shown.exit_code == 3 or (name, damage) == ("metrics.json", "flipped")
    listed = tltool("runs", "list", run.parent)
    assert listed.exit_code == 0
    assert "internal error" not in listed.stderr


@pytest.mark.parametrize(
    "metrics",
    [
        {"split": "test"},
        {"split": "test", "n": "many", "accuracy": {"value": "high"}, "log_loss": []},
        {"split": "test", "n": 1, "accuracy": [1], "log_loss": 1},
        {"validation": [1]},
        {"validation": {"val_accuracy": None, "val_loss": {}}},
        {"validation": "good"},
    ],
)
def test_metrics_of_wrong_types_are_an_unreadable_run(metrics, run, tltool, the_error):
    (run / "metrics.json").write_text(json.dumps(metrics))
    listed = tltool("runs", "list", run.parent, "--json")
    (row,) = json.loads(listed.stdout)
    assert row["status"] == "unreadable" and "metrics.json" in row["error"]
    check(tltool("runs", "show", run), run / "metrics.json", the_error)


@pytest.mark.parametrize(
    "changed",
    [{"machine": [1]}, {"seconds": {"total": "long"}}, {"status": "perfect"}, {"backbone": "vgg"}],
)
def test_a_manifest_of_wrong_types_is_named(changed, run, tltool, the_error):
    write_manifest(run / "manifest.json", small_manifest(**changed))
    result = tltool("runs", "show", run)
    assert result.exit_code == 3
    assert "manifest.json" in the_error(result) and f"entry {next(iter(changed))}" in the_error(
        result
    )


@pytest.fixture
def packed(run: Path) -> Path:
    return pack(run)


def repacked(packed: Path, change: Callable[[str, bytes], dict[str, bytes]]) -> Path:
    content = io.BytesIO()
    with tarfile.open(packed) as old, tarfile.open(fileobj=content, mode="w:gz") as new:
        for member in old.getmembers():
            file = old.extractfile(member)
            assert file is not None
            for name, data in change(member.name, file.read()).items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))
    packed.write_bytes(content.getvalue())
    return packed


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_packed_run_is_named(damage, packed, tltool, the_error, make_photos):
    packed.write_bytes(DAMAGE[damage](packed.read_bytes()))
    result = tltool("runs", "reproduce", packed, "--data", make_photos(n=2), "--offline")
    assert result.exit_code in (2, 3)
    assert packed.name in the_error(result) or result.exit_code == 2  # the damage changed nothing


CHANGES: dict[str, Callable[[str, bytes], dict[str, bytes]]] = {
    "recipe.yaml has changed": lambda n, d: {n: d + b"#" * (n == "recipe.yaml")},
    "metrics.json is missing": lambda n, d: {} if n == "metrics.json" else {n: d},
    "more.py was added": lambda n, d: {n: d} | ({"more.py": b""} if n == "recipe.yaml" else {}),
    "which is no file of a run": lambda n, d: {f"../{n}": d},
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_changed_packed_run_is_refused(message, packed, tltool, the_error, make_photos):
    repacked(packed, CHANGES[message])
    result = tltool("runs", "reproduce", packed, "--data", make_photos(n=2), "--offline")
    assert result.exit_code == (3 if "no file" in message else 4)
    assert message in the_error(result)


def test_a_header_of_a_packed_run_that_claims_256_megabytes_is_not_read(
    tmp_path, tltool, the_error, make_photos
):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 256 << 20
    path = tmp_path / "run.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf() + bytes(1 << 20)))
    result = tltool("runs", "reproduce", path, "--data", make_photos(n=2), "--offline")
    assert result.exit_code == 3
    assert "a header is too large" in the_error(result)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_recipe_is_named(damage, tmp_path, tltool, the_error):
    path = tmp_path / "mine.yaml"
    path.write_bytes(DAMAGE[damage](b"base: vgg16\nseed: 3\ntrain:\n  head:\n    epochs: 2\n"))
    check(tltool("recipes", "validate", path), path, the_error)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_named(damage, tmp_path, tltool, the_error):
    path = tmp_path / "w.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/block1_conv1/vars/0"] = np.zeros((3, 3, 3, 64), "f4")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    result = tltool("weights", "import", "vgg16", path)
    assert result.exit_code == 2
    assert path.name in the_error(result)


@pytest.mark.parametrize("damage", ["half", "zeros", "not UTF-8", "nested", "null"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "metadata.jsonl"])
def test_a_damaged_table_is_named(
    name: str,
    damage: str,
    tmp_path: Path,
    make_photos: PhotoMaker,
    tltool: Callable[..., Any],
    the_error: Callable[[Any], str],
) -> None:
    photos = make_photos(n=3)
    rows = [
        (path.relative_to(tmp_path).as_posix(), path.parent.name) for path in photos.rglob("*.jpg")
    ]
    lines = [f"{image},{label}" for image, label in [("path", "label"), *rows]]
    if name.endswith("jsonl"):
        lines = [json.dumps({"file_name": image, "label": label}) for image, label in rows]
    text = "\n".join(lines).replace(",", "\t" if name == "t.tsv" else ",") + "\n"
    path = tmp_path / name
    path.write_bytes(DAMAGE[damage](text.encode()))
    result = tltool("data", "check", path)
    check(result, path, the_error)
