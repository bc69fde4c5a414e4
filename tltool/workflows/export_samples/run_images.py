"""The images that an old run is exported with: found again, or others given in their place."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.artifact import Description
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.sources.open import read_images, read_source
from tltool.data.splits.split import SplitRow, read_split
from tltool.errors import DataError
from tltool.recipe.load import load_recipe
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.export_samples.parity_samples import decoded

COMPARED = 256  # images at most that every format answers
CALIBRATED = 200  # images at most that set the ranges of 8-bit integers


@dataclass(frozen=True)
class ExportImages:
    """Readable images.

    Attributes:
        images: encoded images of the validation part.
        arrays: the same, decoded: float32 [N, H, W, 3].
        labels: their class numbers, int64 [N].
        calibration: decoded images of the training part; None when none are wanted.
    """

    images: Sequence[bytes]
    arrays: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray | None


@dataclass(frozen=True)
class _Labelled:
    path: Path
    label: str


def find_images(
    run: RunLayout, description: Description, data: Path | str | None, *, calibrate: bool
) -> ExportImages:
    """Return images of the run's own parts, or of ``data``.

    Args:
        run: whose split.csv says which image was in which part.
        description: of the trained model.
        data: where the run's images lie now, or other images in a folder per class, of which one
            half then calibrates and the other is compared.
        calibrate: whether training images are wanted.

    Raises:
        DataError: the images are gone, or unreadable, or of other classes.
    """
    rows = read_split(run.split)
    pixels = load_recipe(str(run.recipe)).data.pixels
    held = [row for row in rows if row.split == "validation"]
    train = [row for row in rows if row.split == "train"]
    if data is None:
        root = _root_of(read_manifest(run.manifest).options.data, pixels)
        parts = [_in_place(part, root) for part in (held, train if calibrate else [])]
    else:
        parts = _given(data, pixels, held, train, description)
    return _opened(_spread(parts[0], COMPARED), parts[1], description, calibrate=calibrate)


def _opened(
    held: Sequence[_Labelled],
    train: Sequence[_Labelled],
    description: Description,
    *,
    calibrate: bool,
) -> ExportImages:
    images = [read_image_bytes(one.path) for one in held]
    if not images:
        raise DataError("there are no images to compare the formats on", hint="give --data DIR")
    arrays, ok = decoded(images, description.decode)
    if not ok.any():
        raise DataError("none of the images can be decoded", hint="give others with --data DIR")
    numbers = {name: number for number, name in enumerate(description.class_names)}
    calibration = None
    if calibrate and train:
        chosen = [read_image_bytes(one.path) for one in _spread(train, CALIBRATED)]
        found, readable = decoded(chosen, description.decode)
        calibration = found[readable]
    return ExportImages(
        [image for image, fine in zip(images, ok, strict=True) if fine],
        arrays[ok],
        np.array([numbers[one.label] for one in held], np.int64)[ok],
        calibration,
    )


def _root_of(source: str, pixels: str | None) -> Path:
    """Return the folder by which split.csv names the images; a copy is made anew if it is gone."""
    if Path(source).suffix and Path(source).is_file():
        return read_images(source, pixels=pixels).root
    return Path(source)


def _in_place(rows: Sequence[SplitRow], root: Path) -> list[_Labelled]:
    found = [_Labelled(root / row.path, row.label) for row in rows]
    gone = [one for one in found if not one.path.is_file()]
    if gone:
        what = f"there is no folder '{root}'" if not root.is_dir() else f"such as '{gone[0].path}'"
        raise DataError(
            f"{len(gone)} of {len(found)} images that the run was trained with are gone: {what}",
            hint="say where they are now, or give other images of the same classes: --data DIR",
        )
    return found


def _given(
    data: Path | str,
    pixels: str | None,
    held: Sequence[SplitRow],
    train: Sequence[SplitRow],
    description: Description,
) -> list[list[_Labelled]]:
    """Return what of the run's images lies in ``data``, else all that does, in two halves."""
    items = read_source(data, min_classes=1, pixels=pixels).items
    known = _by_content(item.path for item in items)
    parts = [
        [_Labelled(known[r.sha256], r.label) for r in p if r.sha256 in known] for p in (held, train)
    ]
    if parts[0]:
        return parts
    unknown = sorted({item.label for item in items} - set(description.class_names))
    if unknown:
        raise DataError(
            f"the model does not know the class {', '.join(unknown)} of '{data}'; it knows "
            f"{', '.join(description.class_names)}",
            hint="rename the folders to the model's class names, or leave these images out",
        )
    by_class = defaultdict(list)
    for item in items:
        by_class[item.label].append(_Labelled(item.path, item.label))
    halves = [[one for part in by_class.values() for one in part[half::2]] for half in (0, 1)]
    return [halves[0] or halves[1], halves[1] or halves[0]]


def _by_content(paths: Iterable[Path]) -> dict[str, Path]:
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}


def _spread(photos: Sequence[_Labelled], count: int) -> list[_Labelled]:
    chosen = np.unique(np.linspace(0, len(photos) - 1, min(count, len(photos))).astype(int))
    return [photos[position] for position in chosen]
