"""The CSV files of a run: ``predictions.csv`` and ``history.csv``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HISTORY_COLUMNS = (
    "phase",
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_calibrated_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
)


def write_predictions(
    path: Path,
    paths: Sequence[Path | str],
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
) -> None:
    """Write one row per image: path, label, predicted, confidence, correct, group, ``p_<class>`` ….

    Args:
        path: the CSV file (UTF-8); replaced if it exists.
        paths: the N images.
        labels: int [N], the true classes.
        probabilities: float [N, C], written with 9 digits, which restore a float32 exactly.
        class_names: the C names, in the order of the columns.
        groups: name of the group of each image, as in split.csv; empty for a single image.

    Raises:
        ValueError: the lengths differ.
        OSError: the file cannot be written.
    """
    header = ["path", "label", "predicted", "confidence", "correct", "group"]
    header += [f"p_{name}" for name in class_names]
    names = [""] * len(paths) if groups is None else groups
    rows = (
        _prediction_row(str(image), int(label), group, row, class_names)
        for image, label, group, row in zip(paths, labels, names, probabilities, strict=True)
    )
    _write_csv(path, header, rows)


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one row per epoch: ``HISTORY_COLUMNS`` first, any other columns after them.

    Args:
        path: the CSV file (UTF-8); replaced if it exists.
        rows: phase, epoch, loss, accuracy, val_loss, val_calibrated_loss,
            val_accuracy, learning_rate, seconds; a missing value or ``None`` becomes an empty cell.

    Raises:
        OSError: the file cannot be written.
    """
    more = dict.fromkeys(key for row in rows for key in row if key not in HISTORY_COLUMNS)
    header = [*HISTORY_COLUMNS, *more]
    _write_csv(path, header, ([_cell(row.get(key)) for key in header] for row in rows))


def _prediction_row(
    image: str, label: int, group: str, row: NDArray[np.floating[Any]], class_names: Sequence[str]
) -> list[str]:
    predicted = int(row.argmax())
    correct = "true" if predicted == label else "false"
    numbers = [f"{value:.9g}" for value in row.tolist()]
    names = [class_names[label], class_names[predicted]]
    return [image, *names, numbers[predicted], correct, group, *numbers]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float | np.floating) else str(value)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # A file name on Linux can contain bytes that are not UTF-8; it must not prevent the table.
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
