"""A CSV or JSONL file of predictions, written row by row and continued after an interruption."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.runs.csv_cells import CsvWriter, csv_rows
from tltool.runs.json_text import from_json, to_json
from tltool.runs.lock import take_lock
from tltool.storage.durable import sync
from tltool.workflows.prediction.prediction import Prediction, absolute_name

SUFFIXES = (".csv", ".jsonl")
_CSV_START, _JSON_START = b"path,error,", b'{"path": '
_PAIR, _SET, _BY = ("class", "probability"), "prediction_set", "predicted_by"


@dataclass(frozen=True)
class Columns:
    """The columns of a row beside the path.

    Attributes:
        top: how many of the most probable classes.
        ood: whether there are ``is_known`` and ``ood_score``.
        prediction_set: whether there are prediction sets.
        predicted_by: digest of the model and the options that change predictions; the same in
            every row.
    """

    top: int
    ood: bool
    prediction_set: bool
    predicted_by: str

    def header(self) -> list[str]:
        """Return the first row of a CSV."""
        pairs = [f"{name}_{rank + 1}" for rank in range(self.top) for name in _PAIR]
        ood = ["is_known", "ood_score"] if self.ood else []
        return ["path", "error", *pairs, *ood, *([_SET] if self.prediction_set else []), _BY]

    def row(self, prediction: Prediction) -> list[object]:
        """Return the cells of one prediction."""
        pairs: list[object] = [cell for pair in prediction.top for cell in pair]
        pairs += [""] * (len(_PAIR) * self.top - len(pairs))
        known = {None: "", True: "true", False: "false"}[prediction.is_known]
        score = "" if prediction.ood_score is None else prediction.ood_score
        ood = [known, score] if self.ood else []
        classes = prediction.prediction_set
        names = "" if classes is None else json.dumps(classes, ensure_ascii=False)
        sets = [names] if self.prediction_set else []
        return [prediction.path, prediction.error or "", *pairs, *ood, *sets, self.predicted_by]

    def document(self, prediction: Prediction) -> dict[str, Any]:
        """Return one prediction as a JSON-ready dictionary."""
        best, confidence = prediction.top[0] if prediction.top else (None, None)
        document: dict[str, Any] = {
            "path": str(prediction.path),
            "ok": prediction.error is None,
            "error": prediction.error,
            "class": best,
            "confidence": confidence,
            "top": [{"class": name, "probability": share} for name, share in prediction.top],
        }
        if prediction.is_known is not None:
            document |= {"is_known": prediction.is_known, "ood_score": prediction.ood_score}
        if prediction.prediction_set is not None:
            document[_SET] = list(prediction.prediction_set)
        return document | {_BY: self.predicted_by}


@dataclass(frozen=True)
class ExistingRows:
    """The content of an output file before new rows are added.

    Attributes:
        paths: absolute paths of the images that have a row, with or without an error.
        failed: number of rows with an error.
        predicted_by: value of ``Columns.predicted_by``; None without a row.
        length: bytes up to the end of the last complete row.
    """

    paths: frozenset[str] = frozenset()
    failed: int = 0
    predicted_by: str | None = None
    length: int = 0


def check_output_file(file: Path, *, append: bool) -> None:
    """Check that ``file`` can be written, before the work starts.

    Raises:
        UsageError: it is neither CSV nor JSONL, its folder does not exist, or the file exists.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"'{file}': predictions are written as .csv or .jsonl",
            hint="give a file name with one of these suffixes",
        )
    if file.is_dir() or not file.parent.is_dir():
        what = "it is a folder" if file.is_dir() else "its folder does not exist"
        raise UsageError(
            f"'{file}' cannot be written: {what}",
            hint="give the name of a file in an existing folder",
        )
    if file.exists() and not append:
        raise _exists(file)


def _exists(file: Path) -> UsageError:
    return UsageError(
        f"'{file}' exists", hint="add --append to continue it, or give another file name"
    )


def read_existing_rows(file: Path) -> ExistingRows:
    """Return the content of an output file; an incomplete last row is ignored.

    Raises:
        DataError: the file was not written by tltool predict.
    """
    if not file.exists():
        return ExistingRows()
    length = _complete_length(file)
    complete = file.read_bytes()[:length].decode("utf-8", "surrogateescape")
    paths, failed, predicted_by = set(), 0, None
    try:
        for row in _rows(complete, is_json=_is_json(file)):
            paths.add(absolute_name(row["path"]))
            failed += bool(row["error"])
            predicted_by = predicted_by or str(row[_BY])
    except (ValueError, KeyError, TypeError, csv.Error):
        raise _other_content(file) from None
    return ExistingRows(frozenset(paths), failed, predicted_by, length)


def _rows(text: str, *, is_json: bool) -> Iterator[dict[str, Any]]:
    if not is_json:
        yield from csv_rows(io.StringIO(text, newline=""))
        return
    for line in text.split("\n")[:-1]:  # splitlines() also breaks at U+2028 within a name
        yield from_json(line)


@contextmanager
def open_output_file(
    file: Path, columns: Columns, existing: ExistingRows, *, append: bool
) -> Iterator[Callable[[Prediction], None]]:
    """Give a function that appends a prediction to ``file``, where other programs see it at once.

    An incomplete last row of an interrupted run is removed; complete rows stay.

    Args:
        file: a .csv or .jsonl.
        columns: of the new rows.
        existing: the rows that the file has.
        append: add to an existing file; else it must not exist.

    Raises:
        UsageError: the existing rows have other columns, or another model or options; or another
            process has made the file meanwhile, or writes to it.
        DataError: the file was not written by tltool predict; it is not changed.
        EnvironmentProblem: it cannot be written.
    """
    try:
        # file names that are not UTF-8 are written as their original bytes
        with file.open(
            "a" if append else "x",
            buffering=1,
            newline="",
            encoding="utf-8",
            errors="surrogateescape",
        ) as target:
            if not take_lock(target):
                raise UsageError(
                    f"another process writes to '{file}'", hint="wait for it, or give another file"
                )
            _check_content(file, columns, existing)
            target.truncate(existing.length)
            if _is_json(file):
                yield lambda prediction: _write_line(target, columns.document(prediction))
            else:
                yield csv_writer(target, columns, header=not existing.length)
            target.flush()
            sync(target.fileno())
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        raise EnvironmentProblem(
            f"'{file}' cannot be written: {error.strerror or error}",
            hint="its rows are kept; run the same command with --append to continue",
        ) from None


def csv_writer(
    target: TextIO, columns: Columns, *, header: bool = True
) -> Callable[[Prediction], None]:
    """Return a function that writes a prediction as a row of a CSV."""
    writer = CsvWriter(target, lineterminator="\n")
    if header:
        writer.writerow(columns.header())
    return lambda prediction: writer.writerow(columns.row(prediction))


def _write_line(target: TextIO, document: dict[str, Any]) -> None:
    target.write(to_json(document, indent=None) + "\n")


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".jsonl"


def _complete_length(file: Path) -> int:
    """Return the number of bytes up to the end of the last complete row."""
    complete, quotes, position = 0, 0, 0
    with file.open("rb") as source:
        for line in source:
            position += len(line)
            quotes += 0 if _is_json(file) else line.count(b'"')
            if line.endswith(b"\n") and quotes % 2 == 0:  # else a line break within a cell
                complete = position
    return complete


def _other_content(file: Path) -> DataError:
    return DataError(
        f"'{file}' was not written by tltool predict",
        hint="give another file; this one was not changed",
    )


def _check_content(file: Path, columns: Columns, existing: ExistingRows) -> None:
    """Check the content of the opened file, which this process has locked."""
    if file.stat().st_size:
        _check_start(file, columns)
    if _complete_length(file) != existing.length:
        raise UsageError(
            f"another process has written to '{file}' meanwhile",
            hint="run the same command again; its rows were kept",
        )
    if existing.length and not _is_json(file):
        _check_header(file, columns)
    _check_predicted_by(file, existing, columns)


def _check_start(file: Path, columns: Columns) -> None:
    """Reject a file of another program: its last row might be removed."""
    with file.open("rb") as source:
        start = source.readline()
    if _is_json(file):
        ours = start.startswith(_JSON_START) or _JSON_START.startswith(start)
    else:
        header = ",".join(columns.header()).encode()
        ours = start.startswith(_CSV_START) or header.startswith(start)
    if not ours:
        raise _other_content(file)


def _check_header(file: Path, columns: Columns) -> None:
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as source:
        header = next(csv.reader(source), [])
    if header != columns.header():
        raise UsageError(
            f"'{file}' has the columns {', '.join(header)}; this command writes "
            f"{', '.join(columns.header())}",
            hint="give the options with which it was written, or another file",
        )


def _check_predicted_by(file: Path, existing: ExistingRows, columns: Columns) -> None:
    """Reject a file with predictions of another model or with other options."""
    if existing.predicted_by not in (None, columns.predicted_by):
        raise UsageError(
            f"the rows of '{file}' were predicted by {existing.predicted_by}; this command is "
            f"{columns.predicted_by}",
            hint="give the model and the options with which it was written, or another file",
        )
