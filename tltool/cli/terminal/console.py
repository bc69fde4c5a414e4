"""Output to a terminal, a pipe or a file: text, tables, errors, JSON.

Rich is imported inside the functions: it takes as long as all the rest of `tltool --help`.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tltool.errors import visible
from tltool.runs.json_text import to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ACCENT = "cyan"
_UNWRAPPED = 10_000  # columns
_USUAL, _NARROWEST = 80, 10  # columns
_LEAST_COLUMN, _GAP = 4, 2  # columns of the terminal for one of a table, and between two
_WORD = 12  # characters of the longest word that a narrow column keeps whole


def out() -> "Console":
    """Return the console of results (stdout)."""
    return _console(stderr=False)


def err() -> "Console":
    """Return the console of messages (stderr)."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    class Plain(Console):
        """Prints text without markup; a closed pipe is an error that ``guarded`` handles."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    return Plain(stderr=stderr, highlight=False, markup=False, emoji=False, width=_width(stream))


def _width(stream: Any) -> int | None:
    """Return the width of a console in columns; None for that of the terminal, as it changes.

    In a file or a pipe lines never wrap. A width of 0, as of some terminals of build servers, would
    leave no room for any text.
    """
    columns = os.environ.get("COLUMNS", "").strip()
    if columns.isdecimal() and int(columns) > 0:
        return max(int(columns), _NARROWEST)
    if not stream.isatty():
        return _UNWRAPPED
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        width = 0
    if width >= _NARROWEST and "COLUMNS" not in os.environ:
        return None
    return max(width, _NARROWEST) if width else _USUAL


def line(console: "Console", *parts: "str | tuple[str, str]", indent: int = 0) -> None:
    """Print one paragraph of (text, style) parts, wrapped at words; paths are never broken.

    Without parts it prints an empty line. Control characters in texts are escaped.
    """
    from rich.cells import cell_len
    from rich.text import Text

    text = Text.assemble(*map(_visible_part, parts))
    width = console.width - indent
    rows = [text]
    if text and max(map(cell_len, text.plain.split()), default=0) <= width:
        rows = list(text.wrap(console, width))
    for row in rows:
        row.rstrip()
        console.print(Text(" " * indent) + row, no_wrap=True, overflow="ignore", crop=False)


def _visible_part(part: "str | tuple[str, str]") -> "str | tuple[str, str]":
    if isinstance(part, str):
        return visible(part, keep="\n")
    return visible(part[0], keep="\n"), part[1]


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; control characters are escaped as JSON provides."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    text = to_json(document, default=str)
    if encoding != "utf8":
        text = json.dumps(json.loads(text), indent=2)
    else:
        text = "".join(c if c == "\n" or visible(c) == c else json.dumps(c)[1:-1] for c in text)
    sys.stdout.write(f"{text}\n")


def print_table(
    console: "Console",
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    whole_words: bool = False,
) -> None:
    """Print an aligned table; columns that hold only numbers are right-aligned.

    With ``whole_words`` no number and no short word is broken where lines are wrapped.
    """
    table = _table(columns, rows, whole_words=whole_words)
    if title:
        line(console, (title, "bold"))
    # rich pads every line to the width of the table; a copy or a diff should not have that
    # narrower, rich would leave out whole columns; the terminal wraps such lines itself
    least = sum((column.min_width or _LEAST_COLUMN) + _GAP for column in table.columns)
    if console.width < least:
        console.width = least
    with console.capture() as captured:
        console.print(table)
    rendered = captured.get()
    if not console.is_terminal:
        rendered = "".join(f"{row.rstrip()}\n" for row in rendered.splitlines())
    console.file.write(rendered)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, whole_words: bool) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(_looks_numeric(row[position]) for row in rows)
        words = " ".join([column, *(row[position] for row in rows)]).split()
        least = min(_WORD, max(map(len, words), default=0)) if whole_words else None
        table.add_column(
            column, justify="right" if numeric else "left", overflow="fold", min_width=least
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def printable(text: str) -> str:
    """Return text in one line, with control characters escaped, as a file name may hold them."""
    return visible(text)


def _looks_numeric(cell: str) -> bool:
    return not any(letter.isalpha() for letter in cell)


def fail(message: str, hint: str | None = None) -> None:
    """Print an error and its hint on stderr."""
    console = err()
    line(console, ("error: ", "bold red"), _lines(message.strip("\n")))
    if hint:
        line(console, ("hint: ", f"bold {ACCENT}"), _lines(hint))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
