"""Writes sample images: the handwritten digits of scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.errors import EnvironmentProblem, UsageError
from tltool.runs.csv_cells import CsvWriter
from tltool.storage.durable import new_file

DIGITS = 1797
_ENLARGE = 4  # 8 x 8 pixels are too small for most backbones


def write_digits(out: Path) -> int:
    """Write the digits as out/<digit>/<number>.png; return how many.

    1797 grey images of 8x8 pixels with 17 levels (UCI Optical Recognition of Handwritten Digits),
    enlarged to 32x32.

    Raises:
        UsageError: ``out`` is a file or a folder that is not empty.
        EnvironmentProblem: it cannot be written.
    """
    from PIL import Image

    check_empty(out)
    grey, labels = _digits()
    side = grey.shape[1] * _ENLARGE
    try:
        for number, (pixels, digit) in enumerate(zip(grey, labels, strict=True)):
            folder = out / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
            image.save(folder / f"{number:04d}.png")
    except OSError as error:
        raise EnvironmentProblem(f"the digits cannot be written to '{out}': {error}") from None
    return len(grey)


def check_empty(out: Path) -> None:
    """Check that ``out`` does not exist or is an empty folder.

    Raises:
        UsageError: it is neither.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"'{out}' exists and is not an empty folder", hint="give another folder with --out"
        )


def has_digits(folder: Path) -> bool:
    """Whether ``write_digits`` wrote all digits into ``folder``."""
    return len(list(folder.glob("[0-9]/*.png"))) == DIGITS


def write_digits_csv(out: Path) -> int:
    """Write the digits as a CSV file: label,pixel0…pixel63, an 8x8 image per row; return how many.

    Raises:
        UsageError: ``out`` exists, or its name does not end in .csv.
        EnvironmentProblem: it cannot be written.
    """
    if out.suffix.lower() != ".csv":
        raise UsageError(f"'{out}' is not the name of a CSV file", hint=f"call it {out}.csv")
    grey, labels = _digits()
    rows = grey.reshape(len(grey), -1)
    try:
        with new_file(out) as part, part.open("w", encoding="ascii", newline="") as file:
            writer = CsvWriter(file, lineterminator="\n")
            writer.writerow(["label", *(f"pixel{number}" for number in range(rows.shape[1]))])
            writer.writerows([digit, *row] for digit, row in zip(labels, rows, strict=True))
    except OSError as error:
        raise EnvironmentProblem(f"the digits cannot be written to '{out}': {error}") from None
    return len(rows)


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images uint8 [1797, 8, 8] in 0…255 and their digits int64 [1797]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target
