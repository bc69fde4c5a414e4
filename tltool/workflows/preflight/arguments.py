"""Checks of arguments that need no framework, whose import takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tltool.errors import UsageError

_HTML_SUFFIXES = (".html", ".htm")


def check_model(path: Path) -> None:
    """Check that the model exists.

    Raises:
        UsageError: it does not.
    """
    if not path.exists():
        raise UsageError(
            f"there is no model '{path}'",
            hint="give the folder of a run (runs/…) or of an export (saved_models/<name>)",
        )


def check_runs(runs: Sequence[object]) -> None:
    """Check that there are at least two runs to compare.

    Raises:
        UsageError: there are fewer.
    """
    if len(runs) < 2:
        raise UsageError(
            "a comparison needs at least two runs",
            hint="tltool compare RUN RUN, or for backbones: "
            "tltool compare DATA --backbones vgg16,resnet50",
        )


def check_picture(path: Path, *, option: str) -> None:
    """Check that a new PNG file can be written at ``path``.

    Args:
        path: the PNG file.
        option: its option on the command line.

    Raises:
        UsageError: it exists, its folder does not, or its name does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(
            f"'{path}' is not the name of a PNG file", hint="give a name that ends in .png"
        )
    if path.exists():
        raise UsageError(
            f"'{path}' exists", hint=f"no file is replaced: give another name with {option}"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"'{path}' cannot be written: its folder does not exist",
            hint=f"give a file in an existing folder with {option}",
        )


def check_page(path: Path) -> None:
    """Check that a new HTML report can be written at ``path``.

    Raises:
        UsageError: it exists, its folder does not, or its name does not end in .html.
    """
    if path.exists():
        raise UsageError(
            f"'{path}' exists", hint="no file is replaced: give another name with --report"
        )
    if path.suffix.lower() not in _HTML_SUFFIXES:
        raise UsageError(
            f"'{path}': the report is an HTML file", hint="give a name that ends in .html"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"'{path}' cannot be written: its folder does not exist",
            hint="give a file in an existing folder with --report",
        )
