"""Real images that ship inside a dependency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tltool.errors import EnvironmentProblem, UsageError

DIGITS = 1797
_ENLARGE = 4  # 8 x 8 pixels are too few for people and for most backbones


def write_digits(out: Path) -> int:
    """Write scikit-learn's handwritten digits as out/<digit>/<number>.png; return how many.

    1797 grey images of 8x8 pixels with 17 levels (UCI Optical Recognition of Handwritten Digits),
    enlarged to 32x32.

    Raises:
        UsageError: ``out`` is a file or a folder that is not empty.
        EnvironmentProblem: it cannot be written.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"'{out}' exists and is not an empty folder", hint="give another folder with --out"
        )
    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    side = grey.shape[1] * _ENLARGE
    try:
        for number, (pixels, digit) in enumerate(zip(grey, digits.target, strict=True)):
            folder = out / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
            image.save(folder / f"{number:04d}.png")
    except OSError as error:
        raise EnvironmentProblem(f"the digits cannot be written to '{out}': {error}") from None
    return len(grey)
