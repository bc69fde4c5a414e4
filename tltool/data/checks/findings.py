"""A finding of a check, and the table of findings."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["serious", "warning", "note"]
COLUMNS = ("path", "kind", "severity", "detail", "suggestion")
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")


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
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for finding in findings:
            name = "" if finding.path is None else _as_text(shown(finding.path))
            writer.writerow(
                [name, finding.kind, finding.severity, finding.detail, finding.suggestion]
            )


def _as_text(path: str) -> str:
    """Return a path that a spreadsheet does not interpret as a formula (CSV injection)."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@", "\t", "\r")) else path
