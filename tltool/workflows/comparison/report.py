"""The page of a comparison, with the images that only one run gets right."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tltool.data.sources.open import is_source, read_images
from tltool.errors import TltoolError
from tltool.evaluation.report.compare_report import Example, Gallery, compare_page
from tltool.recipe.load import load_recipe
from tltool.workflows.comparison.candidates import ComparedRun, Key
from tltool.workflows.comparison.result import Comparison

_SHOWN = 48  # images of a gallery; more would make the page too heavy to send


def write_report(path: Path, found: Comparison) -> None:
    """Write one self-contained HTML file.

    Images that are no longer where the first run found them, or are not what they were, are named
    without a picture.

    Raises:
        UsageError: the file exists.
    """
    first = found.contenders[0]
    root = _root_of(first)

    def place(key: Key) -> Path | None:
        file = None if root is None else root / first.answers[key].path
        return file if file and _holds(file, key) else None

    galleries = []
    for number in range(1, len(found.contenders)):
        for right, wrong in ((0, number), (number, 0)):
            keys = found.only_one_right(right, wrong)
            examples = [
                _example(key, found.contenders[right], found.contenders[wrong], place(key))
                for key in keys[:_SHOWN]
            ]
            names = found.contenders[right].name, found.contenders[wrong].name
            galleries.append(Gallery(*names, len(keys), examples))
    rows = _rows(found)
    with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
        file.write(compare_page(rows, found.verdicts, galleries, n=len(found.keys)))


def _root_of(contender: ComparedRun) -> Path | None:
    """Return the folder of the images; None when they are gone."""
    source = contender.manifest.options.data
    try:
        if not is_source(source):
            return None
        pixels = load_recipe(str(contender.run.recipe)).data.pixels
        return read_images(source, pixels=pixels, offline=True).root
    except (TltoolError, OSError):
        return None


def _holds(file: Path, key: Key) -> bool:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == key[0]
    except OSError:
        return False


def _example(key: Key, right: ComparedRun, wrong: ComparedRun, file: Path | None) -> Example:
    good, bad = right.answers[key], wrong.answers[key]
    return Example(
        name=good.path.as_posix(),
        file=file,
        label=good.label,
        confidence=good.confidence,
        wrongly=bad.predicted,
        wrong_confidence=bad.confidence,
    )


def _rows(found: Comparison) -> list[dict[str, Any]]:
    rows = []
    pairs: Sequence[Any] = (None, *found.paired)
    for number, (one, cost, paired) in enumerate(
        zip(found.contenders, found.costs, pairs, strict=True)
    ):
        value, low, high = found.accuracy(number)
        rows.append(
            {
                "name": one.name,
                "accuracy": f"{value:.3f}",
                "interval": f"{low:.3f} to {high:.3f}",
                "paired": paired,
                "cost": cost,
            }
        )
    return rows
