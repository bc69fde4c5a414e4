"""Writes the report of a comparison, with the images that only one run classifies correctly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tltool.data.decoding.image_errors import ImageError
from tltool.data.decoding.image_file import read_image_file
from tltool.data.sources.open import is_source, read_images
from tltool.errors import TltoolError
from tltool.evaluation.report.compare_report import Example, Gallery, compare_page
from tltool.recipe.load import load_recipe
from tltool.storage.durable import new_file
from tltool.workflows.comparison.compared_runs import ComparedRun, Key
from tltool.workflows.comparison.comparison import Comparison

_SHOWN = 48  # images of a gallery; more would make the page too heavy to send


def write_comparison_report(path: Path, comparison: Comparison) -> None:
    """Write one self-contained HTML file.

    Images that were moved or changed since the first run are listed without a thumbnail.

    Raises:
        UsageError: the file exists.
    """
    first = comparison.runs[0]
    root = _image_root(first)

    def locate(key: Key) -> Path | None:
        file = None if root is None else root / first.predictions[key].path
        return file if file and _has_content(file, key) else None

    galleries = []
    for number in range(1, len(comparison.runs)):
        for correct, wrong in ((0, number), (number, 0)):
            keys = comparison.only_one_correct(correct, wrong)
            examples = [
                _example(key, comparison.runs[correct], comparison.runs[wrong], locate(key))
                for key in keys[:_SHOWN]
            ]
            names = comparison.runs[correct].name, comparison.runs[wrong].name
            galleries.append(Gallery(*names, len(keys), examples))
    rows = _rows(comparison)
    notes = [test_set.summary for test_set in comparison.test_sets]
    page = compare_page(rows, comparison.verdicts, galleries, n=len(comparison.keys), notes=notes)
    with new_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def _image_root(run: ComparedRun) -> Path | None:
    """Return the root folder of the images; None if they do not exist any more."""
    source = run.manifest.options.data
    try:
        if not is_source(source):
            return None
        pixels = load_recipe(str(run.run.recipe)).data.pixels
        return read_images(source, pixels=pixels, offline=True).root
    except (TltoolError, OSError):
        return None


def _has_content(file: Path, key: Key) -> bool:
    try:
        read_image_file(file, sha256=key[0])
    except ImageError:
        return False
    return True


def _example(key: Key, correct: ComparedRun, wrong: ComparedRun, file: Path | None) -> Example:
    right, other = correct.predictions[key], wrong.predictions[key]
    return Example(
        name=right.path.as_posix(),
        file=file,
        label=right.label,
        confidence=right.confidence,
        wrong_class=other.predicted,
        wrong_confidence=other.confidence,
    )


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    rows = []
    pairs: Sequence[Any] = (None, *comparison.paired)
    for number, (one, cost, paired) in enumerate(
        zip(comparison.runs, comparison.costs, pairs, strict=True)
    ):
        value, low, high = comparison.accuracy(number)
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
