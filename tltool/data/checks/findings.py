"""What a check has to say about one file or class."""

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
        path: the file or folder, None for a finding about the whole data set.
        kind: of the finding, from a fixed set of short names.
        detail: what was seen.
        suggestion: what to do about it.
        severity: ``serious`` makes results wrong or files unusable, ``warning`` deserves a
            look, ``note`` is only said.
        related: other files that it concerns.
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

    Bytes of names that are not UTF-8 are escaped: a backslash, ``udc`` and two digits.

    Args:
        path: the file to write.
        findings: its rows.
        shown: how a person knows a file.
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
    """Return a relative path that a spreadsheet takes for text: not what begins like a formula."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@", "\t", "\r")) else path
