"""Malformed files of every kind that a user can give: each is an error of that file.

A file is held if the command ends with one error that names it and with exit code 2, 3, 4 or 5, or
if the file is still valid. An internal error, a traceback, a crash or a changed input is not.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from PIL import Image
from typer.testing import CliRunner

from benchmarks.attack_kinds.outcome import Outcome

logging.raiseExceptions = False  # TensorFlow keeps the stderr of the first command
KIND = "4 malformed files"
_CODES = {0, 2, 3, 4, 5}
TINY = (
    *("model.backbone=tiny_vgg", "model.weights=random", "train.finetune.unfreeze=block3"),
    *("train.head.epochs=1", "train.finetune.epochs=1", "train.probe.folds=2"),
    *("train.probe.c_values=[0.1, 1]", "evaluate.report=false", "evaluate.label_errors=false"),
    *("augment.policy=none", "train.refit=off"),
)


class Case(NamedTuple):
    """A valid file, and the command that reads it.

    Attributes:
        name: of the kind of file.
        path: the file, which is damaged and then restored.
        command: arguments of tltool.
    """

    name: str
    path: Path
    command: Sequence[object]


def deep(content: bytes) -> bytes:
    """Return JSON or YAML that is nested a hundred thousand times."""
    return b"[" * 100_000 + b"]" * 100_000


def wrong_types(content: bytes) -> bytes:
    """Return a document with the same keys and other types, or a list."""
    try:
        document = json.loads(content)
    except ValueError:
        return b'[1, {"a": null}]'
    if not isinstance(document, dict):
        return b'{"a": [1]}'
    return json.dumps({key: [None, {"a": key}] for key in document}).encode()


def without_values(content: bytes) -> bytes:
    """Return a document in which every value is null."""
    try:
        document = json.loads(content)
    except ValueError:
        return b"null"
    return json.dumps(dict.fromkeys(document) if isinstance(document, dict) else None).encode()


def flipped(content: bytes) -> bytes:
    """Return the content with 60 changed bits in the first and the last part."""
    data, rng = bytearray(content), np.random.default_rng(len(content))
    for start, end in ((0, min(len(data), 4096)), (max(len(data) - 4096, 0), len(data))):
        for place in rng.integers(start, max(end, 1), 30):
            data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "last bytes missing": lambda content: content[:-7],
    "zeros": lambda content: bytes(len(content)),
    "bits flipped": flipped,
    "begins with 8 zeros": lambda content: bytes(8) + content[8:],
    "not UTF-8": lambda content: b"\xff\xfe\x00\xd8" + content,
    "a NUL in the middle": lambda c: c[: len(c) // 2] + b"\0" + c[len(c) // 2 :],
    "random": lambda content: np.random.default_rng(1).bytes(max(len(content), 300)),
    "a PNG": lambda content: _png(),
    "an empty zip": lambda content: b"PK\5\6" + bytes(18),
    "nested deeply": deep,
    "wrong types": wrong_types,
    "no values": without_values,
    "a text": lambda content: b"Not found\n",
}


def attacks(folder: Path, kinds: Sequence[str] = ()) -> Iterator[Outcome]:
    """Damage a file of each kind in each way; ``kinds`` are the names of some."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        for case in make_cases(folder):
            if kinds and case.name not in kinds:
                continue
            original = case.path.read_bytes()
            for name, damage in DAMAGE.items():
                content = damage(original)
                case.path.write_bytes(content)
                held, figure = try_command(case)
                if case.path.read_bytes() != content:
                    held, figure = False, f"the file was changed; {figure}"
                yield Outcome(KIND, f"{case.name}: {name}", held, figure)
            case.path.write_bytes(original)
    finally:
        os.chdir(here)


def try_command(case: Case) -> tuple[bool, str]:
    """Run the command of ``case``; return whether its end is in order, and what it printed."""
    from tltool.cli.main import app

    out = Path("out")
    shutil.rmtree(out, ignore_errors=True)
    result = CliRunner().invoke(app, [*map(str, case.command)])
    text = result.stdout + result.stderr
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    unexpected = result.exception is not None and not isinstance(result.exception, SystemExit)
    bad = unexpected or "Traceback" in text or "internal error" in text
    in_order = not bad and result.exit_code in _CODES and (result.exit_code == 0 or bool(errors))
    return in_order, repr(result.exception) if unexpected else f"{result.exit_code} {errors[:1]}"


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def _photos(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number, name in enumerate(("red", "green")):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            pixels = rng.integers(0, 60, (24, 24, 3), dtype=np.uint8)
            pixels[..., number] += 150
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def _tltool(*arguments: object, settings: Sequence[str] = ()) -> None:
    from tltool.cli.main import app

    flags = [flag for setting in settings for flag in ("--set", setting)]
    result = CliRunner().invoke(app, [*map(str, arguments), *flags])
    if result.exit_code:
        raise RuntimeError(result.stdout + result.stderr)


def make_run(folder: Path) -> tuple[Path, Path, Path]:
    """Train on a few images; return images, run and export, with packed.tar.gz beside the run."""
    os.environ.setdefault("TLTOOL_DATA_DIR", str(folder / "cache"))
    photos = _photos(folder / "photos")
    run, exports = folder / "run", folder / "exports"
    where = ("--out", run, "--export-to", exports, "--offline", "--quiet", "--no-tensorboard")
    _tltool("finetune", photos, *where, settings=TINY)
    _tltool("runs", "pack", run, "--output", folder / "packed.tar.gz", "--model")
    return photos, run, next(exports.glob("*"))


def make_cases(folder: Path) -> list[Case]:
    """Make one valid file of each kind: a run, an export, tables, archives, weights."""
    photos, run, export = make_run(folder)
    return [
        *_run_cases(run, photos),
        *_export_cases(export, photos),
        *_data_cases(folder, photos),
        *_weights_cases(folder),
        *_recipe_cases(folder, run, photos),
    ]


def _run_cases(run: Path, photos: Path) -> Iterator[Case]:
    image = photos / "red/0.png"
    show, evaluate = ("runs", "show", run), ("evaluate", run, photos)
    yield Case("manifest", run / "manifest.json", show)
    yield Case("metrics", run / "metrics.json", show)
    yield Case("metrics in a list", run / "metrics.json", ("runs", "list", run.parent))
    yield Case("split", run / "split.csv", (*evaluate, "--split", "train"))
    yield Case("description", run / "artifact.json", ("predict", run, image, "--trust"))
    yield Case("calibration", run / "calibration.npz", ("predict", run, image, "--trust"))
    yield Case("seal of a run", run / "seal.json", ("predict", run, image))
    yield Case("model.keras", run / "model.keras", ("predict", run, image, "--trust"))
    yield Case("recipe of a run", run / "recipe.yaml", evaluate)
    yield Case("predictions compared", run / "predictions.csv", ("compare", run, run))
    packed = run.parent / "packed.tar.gz"
    yield Case("packed run", packed, ("runs", "reproduce", packed, "--data", photos, "--offline"))


def _export_cases(model: Path, photos: Path) -> Iterator[Case]:
    version = model / "1"
    predict = ("predict", model, photos / "red/0.png", "--trust")
    yield Case("saved_model.pb", version / "saved_model.pb", predict)
    yield Case("variables.index", version / "variables/variables.index", predict)
    for name in ("class_names.json", "decode.json", "metadata.json", "calibration.npz"):
        yield Case(name, version / "assets" / name, predict)
    check = ("export", "--check", model)
    yield Case("seal of an export", version / "assets.extra/manifest.json", check)


def _data_cases(folder: Path, photos: Path) -> Iterator[Case]:
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in photos.glob("*/*")]
    paths = folder / "paths.csv"
    paths.write_text("\n".join(["path,label", *rows]) + "\n")
    yield Case("table of paths", paths, ("data", "check", paths))
    tabs = folder / "paths.tsv"
    tabs.write_text(paths.read_text().replace(",", "\t"))
    yield Case("table with tabs", tabs, ("data", "check", tabs))
    pixels = folder / "pixels.csv"
    numbers = "\n".join(f"{n % 2}," + ",".join(["7", str(n)] * 8) for n in range(12))
    pixels.write_text("label," + ",".join(f"pixel{n}" for n in range(16)) + f"\n{numbers}\n")
    yield Case("table of pixels", pixels, ("data", "check", pixels))
    lines = folder / "metadata.jsonl"
    texts = [json.dumps({"file_name": row.split(",")[0], "label": row[-3:]}) for row in rows]
    lines.write_text("\n".join(texts) + "\n")
    yield Case("metadata.jsonl", lines, ("data", "check", lines))
    yield from _archive_cases(folder, photos)
    image = photos / "red/0.png"
    for format in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        file = folder / f"image.{format.lower()}"
        Image.open(image).save(file, format)
        yield Case(f"{format} image", file, ("predict", folder / "run", file))


def _archive_cases(folder: Path, photos: Path) -> Iterator[Case]:
    for name, mode in (("p.zip", ""), ("p.tar", "w"), ("p.tar.gz", "w:gz"), ("p.tar.xz", "w:xz")):
        file = folder / name
        if mode:
            with tarfile.open(file, mode) as tar:  # type: ignore[call-overload]
                tar.add(photos, "photos")
        else:
            with zipfile.ZipFile(file, "w") as archive:
                for path in photos.glob("*/*"):
                    archive.write(path, path.relative_to(folder))
        yield Case(name, file, ("data", "check", file))
    shard = folder / "shard-000000.tar"
    with tarfile.open(shard, "w") as tar:
        for number, path in enumerate(sorted(photos.glob("*/*"))):
            tar.add(path, f"{number}.png")
            label = str(number % 2).encode()
            member = tarfile.TarInfo(f"{number}.cls")
            member.size = len(label)
            tar.addfile(member, io.BytesIO(label))
    yield Case("WebDataset shard", shard, ("data", "check", shard))
    yield from _parquet_case(folder, photos)


def _parquet_case(folder: Path, photos: Path) -> Iterator[Case]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(photos.glob("*/*"))
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    table = folder / "train.parquet"
    labels = [path.parent.name for path in files]
    pq.write_table(pa.table({"image": images, "label": labels}), table)
    yield Case("parquet", table, ("data", "check", table))


def _weights_cases(folder: Path) -> Iterator[Case]:
    weights = folder / "weights"
    weights.mkdir()
    with h5py.File(weights / "w.weights.h5", "w") as file:
        file.create_dataset("layers/block1_conv1/vars/0", data=np.zeros((3, 3, 3, 64), "f4"))
        file.create_dataset("layers/block1_conv1/vars/1", data=np.zeros(64, "f4"))
    with zipfile.ZipFile(weights / "w.keras", "w") as archive:
        archive.write(weights / "w.weights.h5", "model.weights.h5")
        archive.writestr("config.json", "{}")
    header = {"w.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    (weights / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    (weights / "w.onnx").write_bytes(b"\x08\x08\x3a\x0c\x2a\x0a\x08\x01\x10\x01\x42\x01w\x4a\x01\0")
    (weights / "w.pth").write_bytes(_torch_file())
    for path in sorted(weights.iterdir()):
        yield Case(f"weights {path.suffix}", path, ("weights", "import", "vgg16", path))


def _torch_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("archive/data/0", bytes(64))
    return buffer.getvalue()


def _recipe_cases(folder: Path, run: Path, photos: Path) -> Iterator[Case]:
    recipe = folder / "mine.yaml"
    shutil.copy(run / "recipe.yaml", recipe)
    yield Case("recipe", recipe, ("recipes", "validate", recipe))
    state = folder / "state"
    state.mkdir()
    output = folder / "predictions.csv"
    _tltool("predict", run, photos, "--output", output, "--quiet")
    more = ("predict", run, photos, "--output", output, "--append")
    yield Case("predictions continued", output, more)
