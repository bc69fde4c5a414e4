"""What others wrote, shown: names with control characters, formulas and reversed text.

Each name is held if the terminal, the log, the tables and the pages show it in a form that does
nothing, and the tables still give the name back.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.attack_kinds.outcome import Outcome
from tltool.cli.terminal import console as terminal
from tltool.evaluation.report.render import page_template
from tltool.events import SilentObserver
from tltool.runs.csv_cells import CsvWriter, csv_rows
from tltool.runs.log import LoggingObserver

KIND = "9 what others wrote"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
NAMES = {
    "clear screen": "\x1b[2J\x1b[Hcat",
    "window title": "\x1b]0;owned\x07cat",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07cat",
    "8-bit control": "cat\x9b31m",
    "carriage return": "cat\rdog",
    "backspaces": "cat\b\b\bdog",
    "forged line": "cat\n2030-01-01T00:00:00Z error: forged",
    "next line": "cat\x85forged",
    "line separator": "cat\u2028forged",
    "paragraph separator": "cat\u2029forged",
    "reversed": "cat\u202egnp.exe",
    "isolated": "cat\u2067gnp\u2069",
    "invisible": "c\u200bat\ufeff",
    "tags": "cat\U000e0041\U000e0042",
    "surrogate": "cat\udcff",
    "NUL": "cat\0dog",
    "formula": "=cmd|' /C calc'!A0",
    "formula with plus": "+1+cmd",
    "formula with minus": "-1+cmd",
    "formula with at": "@SUM(1)",
    "formula after a tab": "\t=1",
    "formula after a return": "\r=1",
    "script": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)',
    "markup": "[red]cat[/red][/]",
}


def attacks(folder: Path) -> Iterator[Outcome]:
    """Show each name in each place."""
    for attack, name in NAMES.items():
        for place, held in (
            ("terminal", _terminal(name)),
            ("log", _log(folder / "log.txt", name)),
            ("table", _table(name)),
            ("page", _page(name)),
        ):
            yield Outcome(KIND, f"{attack}, {place}", held)


def _harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def _terminal(name: str) -> bool:
    screen = Console(file=io.StringIO(), width=200, force_terminal=False, markup=False)
    terminal.line(screen, f"{name} is a class")
    terminal.print_table(screen, ["class"], [[name]])
    return _harmless(screen.file.getvalue())  # type: ignore[attr-defined]


def _log(path: Path, name: str) -> bool:
    path.unlink(missing_ok=True)
    LoggingObserver(path, SilentObserver()).on_message(f"class {name}", level="warning")
    text = path.read_text("utf-8")
    return _harmless(text) and text.count("\n") == 1


def _table(name: str) -> bool:
    text = io.StringIO(newline="")
    writer = CsvWriter(text, lineterminator="\n")
    writer.writerows([["name", "n"], [name, "1"]])
    (row,) = csv_rows(io.StringIO(text.getvalue(), newline=""))
    raw = list(csv.reader(io.StringIO(text.getvalue(), newline="")))[1][0]
    return row["name"] == name and not raw.startswith(_FORMULA)


def _page(name: str) -> bool:
    environment = page_template("compare_report.html.j2").environment
    page = environment.from_string('<p title="{{ name }}">{{ name }}</p>').render(name=name)
    return _harmless(page.replace("\t", " ")) and page.count("<") == 2 and page.count('"') == 2
