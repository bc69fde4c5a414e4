"""corrections.csv: reads it, and appends decisions that survive a kill or a power cut."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from tltool.data.corrections.decision import ACTIONS, Action, Decision
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.runs.csv_cells import CsvWriter, csv_rows
from tltool.storage.durable import flush, sync

COLUMNS = ("sha256", "file", "decision", "old_label", "new_label", "who", "when", "why")
_NEEDED = COLUMNS[:5]
_HINT = "restore it from a copy; `tltool review` writes such files"


def read_corrections(path: Path) -> tuple[Decision, ...]:
    """Return the rows of a corrections file, in the order in which they were written.

    A last row that a kill or a power cut has left incomplete is not a decision.

    Raises:
        UsageError: there is no such file.
        DataError: it is no corrections file, or a row is damaged.
    """
    if not path.is_file():
        raise UsageError(
            f"there is no corrections file '{path}'", hint="`tltool review` writes one"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from None
    try:
        rows = list(csv_rows(io.StringIO(text, newline="")))
    except ValueError as error:
        raise DataError(f"'{path}' is no corrections file: {error}", hint=_HINT) from None
    header = text.partition("\n")[0].rstrip("\r").split(",")
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise DataError(
            f"'{path}' is no corrections file: it has no column {missing[0]}", hint=_HINT
        )
    if rows and not text.endswith("\n") and len(rows[-1]) < len(header):
        rows.pop()  # a kill has cut it
    return tuple(_decision(path, number, row) for number, row in enumerate(rows, start=2))


def _decision(path: Path, number: int, row: Mapping[str, str]) -> Decision:
    action, new_label = row.get("decision", ""), row.get("new_label", "")
    problem = None
    if len(row.get("sha256", "")) != 64:
        problem = "its sha256 has not 64 digits"
    elif action not in ACTIONS:
        problem = f"its decision is {action!r}, not one of {', '.join(ACTIONS)}"
    elif action == "relabel" and not new_label:
        problem = "it has no new_label"
    if problem:
        raise DataError(f"'{path}', row {number}: {problem}", hint="correct or remove the row")
    return Decision(
        row["sha256"].lower(),
        row.get("file", ""),
        cast(Action, action),
        row.get("old_label", ""),
        new_label,
        row.get("who", ""),
        row.get("when", ""),
        row.get("why", ""),
    )


class CorrectionsFile:
    """Appends decisions; each is on disk when ``append`` returns. Nothing written is ever changed.

    Several processes may append to one file.

    Args:
        path: created with its header if absent.

    Raises:
        DataError: the file is no corrections file.
        EnvironmentProblem: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        complete = len(read_corrections(path)) if path.exists() and path.stat().st_size else 0
        try:
            with path.open("a+b") as file:
                if not path.stat().st_size:
                    file.write(_lines([COLUMNS]))
                else:
                    _end_last_row(file, complete)
                file.flush()
                sync(file.fileno())
            flush(path.absolute().parent)
        except OSError as error:
            raise _unwritable(path, error) from None

    def append(self, decisions: Sequence[Decision]) -> None:
        """Write decisions, and wait until they are on disk.

        Raises:
            EnvironmentProblem: they cannot be written.
        """
        rows = [
            (o.sha256, o.file, o.action, o.old_label, o.new_label, o.who, o.when, o.why)
            for o in decisions
        ]
        try:
            with self._lock:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
                try:
                    os.write(descriptor, _lines(rows))  # one write, so that rows never mix
                    sync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise _unwritable(self.path, error) from None


def _end_last_row(file: IO[bytes], complete: int) -> None:
    """Complete a file that does not end with the end of a row: edited by hand, or cut by a kill."""
    file.seek(0)
    content = file.read()
    if content.endswith(b"\n"):
        return
    rows = list(csv_rows(io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline="")))
    if len(rows) > complete:  # the last row is incomplete: no decision
        file.truncate(content.rfind(b"\n") + 1)
    else:
        file.write(b"\n")


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    CsvWriter(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", errors="surrogateescape")


def _unwritable(path: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the corrections file '{path}' cannot be written: {error.strerror}",
        hint="choose a file in a folder that you may write to with --corrections",
    )
