"""The log of ``tltool serve --log``: one row per classified image, without its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np

from tltool.errors import EnvironmentProblem, UsageError
from tltool.runs.csv_cells import CsvWriter
from tltool.runs.lock import take_lock
from tltool.serving.json_values import Arrays
from tltool.serving.served_model import ServedModel

_LONGEST_ROW = 1 << 16  # bytes
COLUMNS = ("time", "predicted_by", "class_1", "probability_1", "is_known", "ood_score")


class PredictionLog:
    """Appends rows to a CSV file, which ``tltool monitor`` reads.

    Args:
        path: the file; an existing log is continued, without an incomplete last row. It may be
            emptied while the server runs, as ``copytruncate`` of logrotate does.
        log: called with a sentence if the log cannot be written any more.

    Raises:
        UsageError: it is another file, no regular one, or another process writes to it.
        EnvironmentProblem: it cannot be written.
    """

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        self._path = path
        self._say = log
        self._file: TextIO | None = _open(path)
        self._writer = CsvWriter(self._file, lineterminator="\n")
        self._begin(self._file)

    def add(self, model: ServedModel, outputs: Arrays) -> None:
        """Add a row for each image that was classified; never raises for a full disk."""
        probabilities = model.probabilities_in(outputs)
        if self._file is None or probabilities is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        ok = outputs.get("ok", np.ones(len(probabilities), bool))
        scores = outputs.get("ood_score")
        try:
            self._begin(self._file)
            for row in np.flatnonzero(ok):
                best = int(probabilities[row].argmax())
                cells = (
                    ("", "")
                    if scores is None
                    else ("true" if scores[row] <= 1 else "false", float(scores[row]))
                )
                confidence = float(probabilities[row, best])
                self._writer.writerow(
                    [now, model.digest, model.class_names[best], confidence, *cells]
                )
        except OSError as error:
            self._say(f"the log '{self._path}' is not written any more: {error.strerror}")
            self._file = None

    def _begin(self, file: TextIO) -> None:
        """Write the names of the columns into an empty file: a new or a rotated one."""
        if not os.fstat(file.fileno()).st_size:
            self._writer.writerow(COLUMNS)


def _open(path: Path) -> TextIO:
    """Open a new log, or one to continue.

    Raises:
        UsageError, EnvironmentProblem: it is no log, or cannot be written.
    """
    hint = "give another file with --log"
    if path.exists() and not path.is_file():
        raise UsageError(f"'{path}' is not a regular file", hint=hint)
    try:
        if path.exists() and path.stat().st_size:
            with path.open(encoding="utf-8", errors="replace") as before:
                if before.readline(1000).strip() != ",".join(COLUMNS):
                    raise UsageError(f"'{path}' is not a log of tltool serve", hint=hint)
        file = path.open("a", newline="", encoding="utf-8", buffering=1)
    except OSError as error:
        raise EnvironmentProblem(
            f"'{path}' cannot be written: {error.strerror}", hint=hint
        ) from None
    if not take_lock(file):
        file.close()
        raise UsageError(f"another process writes to '{path}'", hint=hint)
    file.truncate(_complete_length(path))
    return file


def _complete_length(path: Path) -> int:
    """Return the number of bytes up to the end of the last complete row; rows are short."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - _LONGEST_ROW)
        file.seek(start)
        return start + file.read().rfind(b"\n") + 1
