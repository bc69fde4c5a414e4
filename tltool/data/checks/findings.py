"""A finding of a check, and the table of findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tltool.data.path_as_text import path_as_text
from tltool.runs.csv_cells import CsvWriter

Severity = Literal["serious", "warning", "note"]
COLUMNS = ("path", "kind", "severity", "detail", "suggestion")
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")


@path_as_text
@dataclass(frozen=True, slots=True)
class Finding:
    """One row of ``data_issues.csv``.

    Attributes:
        path: the file or folder; None for a finding about the whole data set.
        kind: a short name from a fixed set.
        detail: a description.
        suggestion: what to do about it.
        severity: ``serious`` for wrong results or unusable files, ``warning`` for something to
            check, ``note`` for information.
        related: other affected files.
    """

    path: Path | None
    kind: str
    detail: str
    suggestion: str
    severity: Severity
    related: tuple[Path, ...] = ()


def write_findings(
    path: Path, findings: Sequence[Finding], *, shown: Callable[[Path], str]
) -> None:
    """Write ``data_issues.csv``: path, kind, severity, detail, suggestion; UTF-8.

    Bytes of file names that are not UTF-8 are escaped as a backslash, ``udc`` and two digits.

    Args:
        path: the file to write.
        findings: its rows.
        shown: returns the displayed path of a file.
    """
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = CsvWriter(file)
        writer.writerow(COLUMNS)
        for finding in findings:
            name = "" if finding.path is None else shown(finding.path)
            writer.writerow(
                [name, finding.kind, finding.severity, finding.detail, finding.suggestion]
            )
