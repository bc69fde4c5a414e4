"""Read predictions that were made before: a file of ``tltool predict``, or a log of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import DataError, did_you_mean
from tltool.evaluation.drift.drift_tests import Sample
from tltool.events import Observer
from tltool.export.model_folder import model_digest
from tltool.runs.csv_cells import csv_rows
from tltool.runs.json_text import from_json
from tltool.workflows.monitoring.new_images import MonitoredImages

_ADDED = ("top=", "prediction_set=", "per_class=")  # options of predict that only add columns


def read_prediction_rows(
    path: Path, model: Path, class_names: Sequence[str], observer: Observer
) -> MonitoredImages:
    """Return the predictions of ``model`` in a file; rows of other models are left out.

    Args:
        path: the file, for which ``is_prediction_file`` is true.
        model: the run or the export.
        class_names: of the model.
        observer: receives how many rows are of other models.

    Raises:
        DataError: the file is damaged, has an unknown class, or no prediction of this model.
    """
    collected = _Collected({name: number for number, name in enumerate(class_names)})
    digest, others = model_digest(model), Counter[str]()
    try:
        for row in _rows(path):
            collected.row += 1
            if _same_predictions(row["predicted_by"], digest):
                collected.add(row)
            else:
                others[row["predicted_by"]] += 1
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' cannot be read: row {collected.row} is damaged ({error})",
            hint="give a file that `tltool predict --output` or `tltool serve --log` wrote",
        ) from None
    except _UnknownClassError as error:
        raise DataError(
            f"'{path}' has the class '{error}' in row {collected.row}, which the model does not "
            f"have.{did_you_mean(str(error), class_names)}",
            hint="give the model that predicted these images",
        ) from None
    if not collected.predicted:
        raise _nothing_of_model(path, model, digest, others)
    if others:
        observer.on_message(
            f"{sum(others.values()):,} rows of '{path}' are left out: they were predicted by "
            f"other models or with other options ({', '.join(others)})"
        )
    return collected.result()


class _UnknownClassError(Exception):
    """A row has a class that the model does not have."""


@dataclass
class _Collected:
    """The columns of the rows so far."""

    numbers: Mapping[str, int]
    predicted: list[int] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    failed: int = 0
    row: int = 1

    def add(self, row: Mapping[str, Any]) -> None:
        if row["error"]:
            self.failed += 1
            return
        if row["class"] not in self.numbers:
            raise _UnknownClassError(row["class"])
        confidence = float(row["confidence"])
        if not 0 <= confidence <= 1:
            raise ValueError(f"{confidence} is no probability")
        self.predicted.append(self.numbers[row["class"]])
        self.confidence.append(confidence)
        if row["ood_score"] not in ("", None):
            self.scores.append(float(row["ood_score"]))
        if row["path"] is not None:
            self.names.append(str(row["path"]))

    def result(self) -> MonitoredImages:
        complete = len(self.scores) == len(self.predicted)
        sample = Sample(
            np.array(self.predicted, np.int64),
            np.array(self.confidence, np.float32),
            np.array(self.scores if complete else [], np.float32),
            np.zeros((0, 0), np.float16),
        )
        names = self.names if len(self.names) == len(self.predicted) else ()
        return MonitoredImages(sample, names, failed=self.failed)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows with the keys path, error, class, confidence, ood_score, predicted_by."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        if path.suffix.lower() == ".csv":
            for row in csv_rows(file):
                yield {
                    "path": row.get("path"),
                    "error": row.get("error", ""),
                    "class": row["class_1"],
                    "confidence": row["probability_1"],
                    "ood_score": row.get("ood_score", ""),
                    "predicted_by": row["predicted_by"],
                }
            return
        for line in file:
            document = dict(from_json(line))
            optional = {name: document.get(name) for name in ("path", "error", "ood_score")}
            needed = {name: document[name] for name in ("class", "confidence", "predicted_by")}
            yield {**optional, **needed}


def _same_predictions(predicted_by: object, digest: str) -> bool:
    """Return whether the class and the confidence of a row are those of the model alone.

    More classes and prediction sets add columns; test-time augmentation changes the confidence.

    Raises:
        ValueError: the row does not name its model.
    """
    if not isinstance(predicted_by, str):
        raise ValueError("predicted_by is no text")
    model, *options = predicted_by.split(" ")
    return model == digest and all(option.startswith(_ADDED) for option in options)


def _nothing_of_model(path: Path, model: Path, digest: str, others: Counter[str]) -> DataError:
    if not others:
        return DataError(f"'{path}' has no prediction", hint="give a file with predictions")
    return DataError(
        f"'{path}' has no prediction of '{model}' ({digest}); its rows were predicted by "
        f"{', '.join(others)}",
        hint="give the model that predicted them, such as saved_models/NAME/VERSION, and predict "
        "without --tta",
    )
