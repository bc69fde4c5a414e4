"""Answers written to a CSV or JSONL file one by one, and taken up where a run was stopped."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.runs.json_text import from_json, to_json
from tltool.workflows.prediction.prediction import Prediction

KINDS = (".csv", ".jsonl")
_CSV_START, _JSON_START = b"path,error,", b'{"path": '
_QUOTED_ENDS = "\r\n"
_PAIR, _BY = ("class", "probability"), "answered_by"


@dataclass(frozen=True)
class Columns:
    """What a row says beside the path.

    Attributes:
        ranks: how many classes are named.
        unknown: whether it says if the image is known.
        sets: whether there are prediction sets.
        answered_by: the model and the options that change its answers, the same in every row.
    """

    ranks: int
    unknown: bool
    sets: bool
    answered_by: str

    def header(self) -> list[str]:
        """Return the first row of a CSV."""
        pairs = [f"{what}_{rank + 1}" for rank in range(self.ranks) for what in _PAIR]
        unknown = ["is_known", "ood_score"] if self.unknown else []
        return ["path", "error", *pairs, *unknown, *(["set"] if self.sets else []), _BY]

    def row(self, answer: Prediction) -> list[object]:
        """Return the cells of one answer."""
        pairs: list[object] = [cell for pair in answer.top for cell in pair]
        pairs += [""] * (len(_PAIR) * self.ranks - len(pairs))
        known = {None: "", True: "true", False: "false"}[answer.is_known]
        unknown = [known, _blank(answer.ood_score)] if self.unknown else []
        inside = "" if answer.classes is None else json.dumps(answer.classes, ensure_ascii=False)
        sets = [inside] if self.sets else []
        return [answer.path, answer.error or "", *pairs, *unknown, *sets, self.answered_by]

    def document(self, answer: Prediction) -> dict[str, Any]:
        """Return one answer as a JSON-ready dictionary."""
        best, confidence = answer.top[0] if answer.top else (None, None)
        document: dict[str, Any] = {
            "path": str(answer.path),
            "ok": answer.error is None,
            "error": answer.error,
            "class": best,
            "confidence": confidence,
            "top": [{"class": name, "probability": share} for name, share in answer.top],
        }
        if answer.is_known is not None:
            document |= {"is_known": answer.is_known, "ood_score": answer.ood_score}
        if answer.classes is not None:
            document["set"] = list(answer.classes)
        return document | {_BY: self.answered_by}


@dataclass(frozen=True)
class Answered:
    """What a file of answers holds before this call adds to it.

    Attributes:
        paths: absolute paths of the files that have a row, also one with an error.
        failed: rows with an error.
        answered_by: what ``Columns.answered_by`` was; None without a row.
    """

    paths: frozenset[str] = frozenset()
    failed: int = 0
    answered_by: str | None = None


def check_answer_file(file: Path, *, append: bool) -> None:
    """Refuse a file that cannot be written, before the work is done and not after.

    Raises:
        UsageError: it is neither CSV nor JSONL, has no folder, or exists.
    """
    if file.suffix.lower() not in KINDS:
        raise UsageError(
            f"'{file}': answers are written as .csv or .jsonl", hint="name a file with one of these"
        )
    if file.is_dir() or not file.parent.is_dir():
        what = "it is a folder" if file.is_dir() else "its folder does not exist"
        raise UsageError(
            f"'{file}' cannot be written: {what}",
            hint="give the name of a file in a folder that exists",
        )
    if file.exists() and not append:
        raise UsageError(
            f"'{file}' exists", hint="--append goes on where it ends; or give another name"
        )


def predicted_before(file: Path) -> Answered:
    """Return what a file of answers holds; a torn last row does not count.

    Raises:
        DataError: it is no file of answers.
    """
    if not file.exists():
        return Answered()
    whole = file.read_bytes()[: _whole_length(file)].decode("utf-8", "surrogateescape")
    paths, failed, by = set(), 0, None
    try:
        for row in _rows(whole, is_json=_is_json(file)):
            paths.add(os.path.abspath(row["path"]))  # noqa: PTH100  (a link stays what it is)
            failed += bool(row["error"])
            by = by or str(row[_BY])
    except (ValueError, KeyError, TypeError, csv.Error):
        raise _no_answers(file) from None
    return Answered(frozenset(paths), failed, by)


def _rows(whole: str, *, is_json: bool) -> Iterator[dict[str, Any]]:
    if not is_json:
        yield from csv.DictReader(io.StringIO(whole, newline=""))
        return
    for line in whole.split("\n")[:-1]:  # splitlines() also breaks at U+2028 within a name
        yield from_json(line)


def _check_same(file: Path, before: Answered, columns: Columns) -> None:
    """Refuse to add the answers of another model, or to another question."""
    if before.answered_by not in (None, columns.answered_by):
        raise UsageError(
            f"the rows of '{file}' were answered by {before.answered_by}; this command is "
            f"{columns.answered_by}",
            hint="give the model and the options with which it was written, or another file",
        )


@contextmanager
def answer_file(
    file: Path, columns: Columns, before: Answered
) -> Iterator[Callable[[Prediction], None]]:
    """Give a function that adds an answer to ``file``, where other programs see it at once.

    What a stopped run left of its last row is cut off; whole rows stay as they are.

    Args:
        file: a .csv or .jsonl.
        columns: of the rows to come.
        before: what ``predicted_before`` found in it.

    Raises:
        UsageError: the file has rows with other columns, or answered by something else.
        DataError: it holds something else than answers; it is not touched.
        EnvironmentProblem: it cannot be written.
    """
    try:
        if file.exists():
            _check_ours(file, columns)
        length = _whole_length(file) if file.exists() else 0
        if length and not _is_json(file):
            _check_header(file, columns)
        _check_same(file, before, columns)
        # file names that are not UTF-8 come out as the bytes they are
        with file.open(
            "a", buffering=1, newline="", encoding="utf-8", errors="surrogateescape"
        ) as target:
            target.truncate(length)
            if _is_json(file):
                yield lambda answer: _write_line(target, columns.document(answer))
            else:
                yield csv_writer(target, columns, header=not length)
            target.flush()
            os.fsync(target.fileno())
    except OSError as error:
        raise EnvironmentProblem(
            f"'{file}' cannot be written: {error.strerror or error}",
            hint="what is in it stays; --append goes on where it ends",
        ) from None


def csv_writer(
    target: TextIO, columns: Columns, *, header: bool = True
) -> Callable[[Prediction], None]:
    """Return a function that writes an answer as a row of a CSV."""
    writer = csv.writer(_PlainEnds(target), lineterminator=_QUOTED_ENDS)
    if header:
        writer.writerow(columns.header())
    return lambda answer: writer.writerow(columns.row(answer))


class _PlainEnds:
    """Ends rows with a line feed, and lets csv quote a carriage return within a name.

    Before Python 3.13 csv quotes what ends a line only where it is part of the line terminator.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def write(self, row: str) -> int:
        return self._target.write(row.removesuffix(_QUOTED_ENDS) + "\n")


def _write_line(target: TextIO, document: dict[str, Any]) -> None:
    target.write(to_json(document, indent=None) + "\n")


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".jsonl"


def _whole_length(file: Path) -> int:
    """Return the number of bytes up to the end of the last whole row."""
    whole, quotes, position = 0, 0, 0
    with file.open("rb") as source:
        for line in source:
            position += len(line)
            quotes += 0 if _is_json(file) else line.count(b'"')
            if line.endswith(b"\n") and quotes % 2 == 0:  # else a line break within a cell
                whole = position
    return whole


def _no_answers(file: Path) -> DataError:
    return DataError(
        f"'{file}' holds something else than answers of tltool predict",
        hint="give another file; this one was not touched",
    )


def _check_ours(file: Path, columns: Columns) -> None:
    """Refuse a file whose beginning we did not write: its last row might be cut off."""
    with file.open("rb") as source:
        start = source.readline()
    if _is_json(file):
        ours = start.startswith(_JSON_START) or _JSON_START.startswith(start)
    else:
        header = ",".join(columns.header()).encode()
        ours = start.startswith(_CSV_START) or header.startswith(start)
    if not ours:
        raise _no_answers(file)


def _check_header(file: Path, columns: Columns) -> None:
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as source:
        found = next(csv.reader(source), [])
    if found != columns.header():
        raise UsageError(
            f"'{file}' has the columns {', '.join(found)}; this command writes "
            f"{', '.join(columns.header())}",
            hint="give the options with which it was written, or another file",
        )


def _blank(value: object) -> object:
    return "" if value is None else value
