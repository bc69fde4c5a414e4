"""The CSV files of a run: ``predictions.csv``, ``validation.csv`` and ``history.csv``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.runs.csv_cells import CsvWriter, csv_rows
from tltool.storage.durable import replaced_file

ALL_CLASSES_UP_TO = 200
"""Classes; with more, a table of predictions has only the most probable ones."""
_RANKED = 5
_VALIDATION_COLUMNS = ("path", "correct", "loss", "group")
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
    ood_scores: NDArray[np.floating[Any]] | None = None,
) -> None:
    """Write one row per image: path, label, predicted, confidence, correct, group, ``p_<class>`` ….

    With OOD scores there is a column ``ood_score`` after the group. With more than
    ``ALL_CLASSES_UP_TO`` classes the probabilities are ``p_label``, of the true class, and
    ``class_2``, ``p_2`` to ``class_5``, ``p_5``, of the next most probable classes: a table of
    10,000 classes and 10,000 images would have a gigabyte.

    Args:
        path: the CSV file (UTF-8); replaced if it exists.
        paths: the N images.
        labels: int [N], the true classes.
        probabilities: float [N, C], written with 9 digits, which restore a float32 exactly.
        class_names: the C names, in the order of the columns.
        groups: name of the group of each image, as in split.csv; empty for a single image.
        ood_scores: out-of-distribution scores, float [N], above 1 is OOD; None for none.

    Raises:
        ValueError: the lengths differ.
        OSError: the file cannot be written.
    """
    header = ["path", "label", "predicted", "confidence", "correct", "group"]
    header += [] if ood_scores is None else ["ood_score"]
    if len(class_names) <= ALL_CLASSES_UP_TO:
        header += [f"p_{name}" for name in class_names]
    else:
        header += ["p_label"]
        header += [f"{what}_{rank}" for rank in range(2, _RANKED + 1) for what in ("class", "p")]
    names = [""] * len(paths) if groups is None else groups
    more = [[]] * len(paths) if ood_scores is None else [[_number(one)] for one in ood_scores]
    rows = (
        _prediction_row(str(image), int(label), [group, *score], row, class_names)
        for image, label, group, score, row in zip(
            paths, labels, names, more, probabilities, strict=True
        )
    )
    _write_csv(path, header, rows)


@dataclass(frozen=True)
class PredictionRow:
    """A row of ``predictions.csv``, without the probabilities of the other classes.

    Attributes:
        path: the image, as in split.csv.
        label: its class.
        predicted: the predicted class.
        confidence: its probability.
        correct: whether the prediction is correct.
        group: its group, such as a patient; empty if it has none.
        ood_score: out-of-distribution score, above 1 is OOD; None without an OOD detector.
    """

    path: str
    label: str
    predicted: str
    confidence: float
    correct: bool
    group: str
    ood_score: float | None = None


def read_predictions(path: Path) -> Iterator[PredictionRow]:
    """Yield the rows that ``write_predictions`` wrote, in their order.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged.

    Examples:
        >>> wrong = [row.path for row in read_predictions(path) if not row.correct]
    """
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv_rows(file):
            try:
                yield PredictionRow(
                    row["path"],
                    row["label"],
                    row["predicted"],
                    float(row["confidence"]),
                    row["correct"] == "true",
                    row.get("group", ""),
                    float(row["ood_score"]) if "ood_score" in row else None,
                )
            except KeyError as error:
                raise ValueError(f"a row has no {error}") from None


@dataclass(frozen=True)
class ValidationRows:
    """The rows of ``validation.csv``.

    Attributes:
        paths: the N images, as in split.csv.
        correct: whether the best model classifies each image correctly, bool [N].
        losses: its log-loss for each image at its temperature, nats, float64 [N].
        groups: number of the group of each image, int64 [N].
    """

    paths: tuple[str, ...]
    correct: NDArray[np.bool_]
    losses: NDArray[np.float64]
    groups: NDArray[np.int64]


def write_validation(path: Path, rows: ValidationRows) -> None:
    """Write one row per validation image: path, correct, loss, group.

    Args:
        path: the CSV file (UTF-8); replaced if it exists.
        rows: what to write; losses have 17 digits, which restore them exactly.

    Raises:
        OSError: the file cannot be written.
    """
    columns = zip(rows.paths, rows.correct, rows.losses, rows.groups, strict=True)
    lines = (
        [image, "true" if correct else "false", f"{loss:.17g}", str(group)]
        for image, correct, loss, group in columns
    )
    _write_csv(path, _VALIDATION_COLUMNS, lines)


def read_validation(path: Path) -> ValidationRows | None:
    """Return what ``write_validation`` wrote; None if there is no such file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv_rows(file))
        return ValidationRows(
            tuple(line["path"] for line in lines),
            np.array([line["correct"] == "true" for line in lines], np.bool_),
            np.array([line["loss"] for line in lines], np.float64),
            np.array([line["group"] for line in lines], np.int64),
        )
    except (OSError, KeyError, ValueError):
        return None


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
    image: str,
    label: int,
    more: Sequence[str],
    row: NDArray[np.floating[Any]],
    class_names: Sequence[str],
) -> list[str]:
    predicted = int(row.argmax())
    correct = "true" if predicted == label else "false"
    names = [class_names[label], class_names[predicted]]
    cells = [image, *names, _number(row[predicted]), correct, *more]
    if len(class_names) <= ALL_CLASSES_UP_TO:
        return [*cells, *map(_number, row.tolist())]
    ranked = np.argsort(-row, kind="stable")[1:_RANKED].tolist()
    others = (cell for next_ in ranked for cell in (class_names[next_], _number(row[next_])))
    return [*cells, _number(row[label]), *others]


def _number(value: float) -> str:
    return f"{value:.9g}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float | np.floating) else str(value)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # A file name on Linux can contain bytes that are not UTF-8; it must not prevent the table.
    with (
        replaced_file(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = CsvWriter(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
