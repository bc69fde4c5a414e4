"""Queues of a finished run, from its tables: no image is opened and no network is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tltool.data.audit.audit import LABEL_CONFLICT, LEAKAGE
from tltool.data.splits.split import SplitRow, read_run_split
from tltool.errors import DataError, UsageError
from tltool.evaluation.csv_tables import PredictionRow, read_predictions
from tltool.recipe.load import load_recipe
from tltool.review.queues import Queue, QueueEntry, ReviewData, ReviewImage, class_queues
from tltool.runs.csv_cells import csv_rows
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.export_samples.run_images import folder_of_paths

_MOST = 1000  # images in a queue of predictions


def run_review(run: RunLayout, data: Path | None = None) -> ReviewData:
    """Return the images of a run with queues from its tables.

    Args:
        run: with split.csv and what else the run has written.
        data: the new location of its images, if they were moved.

    Raises:
        UsageError, DataError: it is no run, or its images are no longer at their place.
    """
    manifest = read_manifest(run.manifest)
    if not run.split.is_file():
        raise UsageError(
            f"the run '{run.folder}' has not read its images yet",
            hint=f"finish it first: tltool runs resume {run.folder}",
        )
    rows = read_run_split(run)
    pixels = load_recipe(str(run.recipe)).data.pixels
    root = data if data is not None else folder_of_paths(manifest.options.data, pixels)
    images = tuple(_image(row, root) for row in rows)
    _check_present(images, root)
    class_names = tuple(sorted({row.label for row in rows}))
    position = {image.file: number for number, image in enumerate(images)}
    queues = [
        _label_issues(run, position),
        _conflicts(run, images, position),
        *_predicted(run, position),
        _odd_files(run, images, position),
    ]
    return ReviewData(
        run.folder.absolute().name,
        images,
        class_names,
        (*(one for one in queues if one.entries), *class_queues(images, class_names)),
    )


def _image(row: SplitRow, root: Path) -> ReviewImage:
    return ReviewImage(root / row.path, row.path.as_posix(), row.label, row.sha256, row.split)


def _check_present(images: tuple[ReviewImage, ...], root: Path) -> None:
    missing = [one for one in images if not one.path.is_file()]
    if missing:
        what = f"no folder '{root}'" if not root.is_dir() else f"for example '{missing[0].file}'"
        raise DataError(
            f"{len(missing):,} of the {len(images):,} images of the run are no longer in "
            f"'{root}': {what}",
            hint="give their new location with --data FOLDER",
        )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table of the run; none if it has no such table.

    Raises:
        DataError: the table is damaged.
    """
    if path.is_file():
        with (
            _reporting_damage(path),
            path.open(newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            yield from csv_rows(file)


def _prediction_rows(path: Path) -> Iterator[PredictionRow]:
    """Yield the rows of predictions.csv; none without it.

    Raises:
        DataError: it is damaged.
    """
    if path.is_file():
        with _reporting_damage(path):
            yield from read_predictions(path)


@contextmanager
def _reporting_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise DataError(f"'{path}' is damaged: {error}", hint="restore it from a copy") from None


def _label_issues(run: RunLayout, position: Mapping[str, int]) -> Queue:
    entries = tuple(
        QueueEntry(
            position[row["file"]],
            row["suggested"],
            f"probably wrong: {row['suggested']} {float(row['p_suggested']):.0%}, "
            f"{row['label']} {float(row['p_label']):.0%}",
        )
        for row in _rows(run.label_errors)
        if row["file"] in position
    )
    about = "Labels that the features of the pretrained backbone contradict, the surest first."
    chance = _by_chance(run)
    if chance is not None:
        about += f" If every label were right, {chance:,.0f} would be expected."
    return Queue("label-issues", "label issues", about, entries)


def _by_chance(run: RunLayout) -> float | None:
    """Return how many label issues are expected if every label is right; None if not known."""
    try:
        document: Any = from_json(run.metrics.read_text(encoding="utf-8"))
        return float(document["label_errors"]["by_chance"]["mean"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _issue_positions(
    run: RunLayout, images: tuple[ReviewImage, ...], position: Mapping[str, int]
) -> Iterator[tuple[int, str, str]]:
    """Yield (position, kind, detail) of the issues of usable images."""
    by_path = {str(image.path): number for number, image in enumerate(images)}
    recorded = read_manifest(run.manifest).options.data
    for row in _rows(run.issues):
        path = row.get("path", "")
        inside = path.removeprefix(f"{recorded}/")
        number = by_path.get(path, position.get(inside))
        if number is not None and row.get("used") == "yes":
            yield number, row.get("kind", ""), row.get("detail", "")


def _conflicts(
    run: RunLayout, images: tuple[ReviewImage, ...], position: Mapping[str, int]
) -> Queue:
    found = {
        number: f"{kind}: {detail}"
        for number, kind, detail in _issue_positions(run, images, position)
        if kind in (LABEL_CONFLICT, LEAKAGE)
    }
    entries = tuple(QueueEntry(number, "", reason) for number, reason in found.items())
    about = "Copies of one image with different labels or in different splits."
    return Queue("conflicts", "label conflicts and copies", about, entries)


def _odd_files(
    run: RunLayout, images: tuple[ReviewImage, ...], position: Mapping[str, int]
) -> Queue:
    found = {
        number: f"{kind}: {detail}"
        for number, kind, detail in _issue_positions(run, images, position)
        if kind not in (LABEL_CONFLICT, LEAKAGE, "label corrected")
    }
    entries = tuple(QueueEntry(number, "", reason) for number, reason in found.items())
    return Queue("odd-files", "odd files", "Images that the audit found unusual.", entries)


def _predicted(run: RunLayout, position: Mapping[str, int]) -> list[Queue]:
    """Return the queues of mistakes, uncertain predictions and out-of-distribution images."""
    rows = [row for row in _prediction_rows(run.predictions) if row.path in position]
    mistakes = [row for row in rows if not row.correct]
    ood = [row for row in rows if row.ood_score is not None and row.ood_score > 1]
    return [
        Queue(
            "mistakes",
            "worst mistakes",
            "Wrong predictions of the final evaluation, the surest first.",
            _entries(sorted(mistakes, key=lambda row: -row.confidence), position),
        ),
        Queue(
            "uncertain",
            "least certain",
            "Predictions of the final evaluation, the least certain first.",
            _entries(sorted(rows, key=lambda row: row.confidence), position),
        ),
        Queue(
            "out-of-distribution",
            "out-of-distribution",
            "Images of the final evaluation that are unlike the training images, the most "
            "different first.",
            _entries(sorted(ood, key=lambda row: -(row.ood_score or 0)), position),
        ),
    ]


def _entries(rows: Sequence[PredictionRow], position: Mapping[str, int]) -> tuple[QueueEntry, ...]:
    return tuple(
        QueueEntry(
            position[row.path],
            "" if row.correct else row.predicted,
            f"predicted {row.predicted} with {row.confidence:.0%}{_ood_text(row)}",
        )
        for row in rows[:_MOST]
    )


def _ood_text(row: PredictionRow) -> str:
    is_ood = row.ood_score is not None and row.ood_score > 1
    return f"; out-of-distribution, score {row.ood_score:.2f}" if is_ood else ""
