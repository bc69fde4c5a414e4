"""Find the images of a finished run again, for the acceptance gate and 8-bit calibration."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.artifact import Description
from tltool.data.decoding.image_file import read_image_file
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.sources.open import read_images, read_source
from tltool.data.splits.split import SplitRow, read_run_split
from tltool.errors import DataError, some_of
from tltool.recipe.load import load_recipe
from tltool.recipe.source_text import PREFIXES, is_remote
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.export_samples.parity_samples import decode_all

MAX_COMPARED = 256  # images on which the formats are compared
MAX_CALIBRATION = 200  # images for the ranges of 8-bit integers


@dataclass(frozen=True)
class RunImages:
    """N validation images of a run, and training images for calibration. All are decodable.

    Attributes:
        images: encoded validation images.
        arrays: the same images decoded, float32 [N, H, W, 3].
        labels: their class ids, int64 [N].
        calibration: decoded training images, float32 [M, H, W, 3]; None if not requested.
    """

    images: Sequence[bytes]
    arrays: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray | None


@dataclass(frozen=True)
class _Labelled:
    path: Path
    label: str
    sha256: str = ""  # in the audit of the run


def load_run_images(
    run: RunLayout, description: Description, data: Path | str | None, *, calibrate: bool
) -> RunImages:
    """Return validation and training images of the run, or images from ``data``.

    Args:
        run: its split.csv gives the part of each image.
        description: of the trained model.
        data: new location of the run's images, or other images in a folder per class; then one
            half is used for comparison and the other for calibration.
        calibrate: whether to load training images.

    Raises:
        DataError: the images are missing, not decodable, or of other classes.
    """
    rows = read_run_split(run)
    pixels = load_recipe(str(run.recipe)).data.pixels
    validation = [row for row in rows if row.split == "validation"]
    train = [row for row in rows if row.split == "train"]
    if data is None:
        root = folder_of_paths(read_manifest(run.manifest).options.data, pixels)
        parts = [_in_place(part, root) for part in (validation, train if calibrate else [])]
    else:
        parts = _from_other_data(data, pixels, validation, train, description)
    return _load(_spread(parts[0], MAX_COMPARED), parts[1], description, calibrate=calibrate)


def _load(
    validation: Sequence[_Labelled],
    train: Sequence[_Labelled],
    description: Description,
    *,
    calibrate: bool,
) -> RunImages:
    images = _contents(validation)
    if not images:
        raise DataError("there are no images to compare the formats on", hint="give --data DIR")
    arrays, ok = decode_all(images, description.decode)
    if not ok.any():
        raise DataError("none of the images can be decoded", hint="give others with --data DIR")
    class_ids = {name: number for number, name in enumerate(description.class_names)}
    calibration = None
    if calibrate and train:
        chosen = [
            read_image_bytes(one.path, sha256=one.sha256) for one in _spread(train, MAX_CALIBRATION)
        ]
        decoded, decodable = decode_all(chosen, description.decode)
        calibration = decoded[decodable]
    return RunImages(
        [image for image, fine in zip(images, ok, strict=True) if fine],
        arrays[ok],
        np.array([class_ids[one.label] for one in validation], np.int64)[ok],
        calibration,
    )


def _contents(images: Sequence[_Labelled]) -> list[bytes]:
    return [read_image_bytes(one.path, sha256=one.sha256) for one in images]


def folder_of_paths(source: str, pixels: str | None) -> Path:
    """Return the folder of the paths in split.csv; a cached copy is created again if missing."""
    if source.startswith(PREFIXES) or is_remote(source) or Path(source).is_file():
        return read_images(source, pixels=pixels).root
    return Path(source)


def _in_place(rows: Sequence[SplitRow], root: Path) -> list[_Labelled]:
    images = [_Labelled(root / row.path, row.label, row.sha256) for row in rows]
    missing = [one for one in images if not one.path.is_file()]
    if missing:
        what = f"no folder '{root}'" if not root.is_dir() else f"for example '{missing[0].path}'"
        raise DataError(
            f"{len(missing)} of {len(images)} images of the run are missing: {what}",
            hint="give their new location, or other images of the same classes: --data DIR",
        )
    return images


def _from_other_data(
    data: Path | str,
    pixels: str | None,
    validation: Sequence[SplitRow],
    train: Sequence[SplitRow],
    description: Description,
) -> list[list[_Labelled]]:
    """Return the run's images in ``data``; if there are none, all images of ``data`` in halves."""
    items = read_source(data, min_classes=1, pixels=pixels).items
    paths = _by_content(item.path for item in items)
    parts = [
        [_Labelled(paths[row.sha256], row.label) for row in part if row.sha256 in paths]
        for part in (validation, train)
    ]
    if parts[0]:
        return parts
    unknown = sorted({item.label for item in items} - set(description.class_names))
    if unknown:
        raise DataError(
            f"'{data}' has classes that the model does not have: {some_of(unknown)}; the model "
            f"has {some_of(description.class_names, 20)}",
            hint="rename the folders to the model's class names, or leave these images out",
        )
    by_class = defaultdict(list)
    for item in items:
        by_class[item.label].append(_Labelled(item.path, item.label))
    halves = [[one for part in by_class.values() for one in part[half::2]] for half in (0, 1)]
    return [halves[0] or halves[1], halves[1] or halves[0]]


def _by_content(paths: Iterable[Path]) -> dict[str, Path]:
    return {hashlib.sha256(read_image_file(path)).hexdigest(): path for path in paths}


def _spread(images: Sequence[_Labelled], count: int) -> list[_Labelled]:
    """Return up to ``count`` images, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int))
    return [images[position] for position in chosen]
