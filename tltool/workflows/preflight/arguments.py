"""What can be said of a command before any framework is loaded, which takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tltool.errors import UsageError

_PAGES = (".html", ".htm")


def check_model(path: Path) -> None:
    """Refuse a path with nothing there.

    Raises:
        UsageError: there is no model.
    """
    if not path.exists():
        raise UsageError(
            f"there is no model '{path}'",
            hint="give the folder of a run (runs/…) or of an export (saved_models/<name>)",
        )


def check_runs(runs: Sequence[object]) -> None:
    """Refuse to compare fewer than two runs.

    Raises:
        UsageError: there are fewer.
    """
    if len(runs) < 2:
        raise UsageError(
            "a comparison needs two runs or more",
            hint="tltool compare RUN RUN; or backbones on images: "
            "tltool compare PHOTOS --backbones vgg16,resnet50",
        )


def check_picture(path: Path, *, option: str) -> None:
    """Refuse a picture that cannot be written, or would take the place of a file.

    Args:
        path: the PNG file.
        option: what names it on the command line.

    Raises:
        UsageError: it exists, its folder does not, or its name is not that of a PNG file.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"'{path}' is no name of a PNG file", hint="end it with .png")
    if path.exists():
        raise UsageError(
            f"'{path}' exists", hint=f"nothing is replaced: give another name with {option}"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"'{path}' cannot be written: its folder does not exist",
            hint=f"give a file in a folder that exists with {option}",
        )


def check_page(path: Path) -> None:
    """Refuse a page that cannot be written, or would take the place of a file.

    Raises:
        UsageError: it exists, its folder does not, or its name is not that of a page.
    """
    if path.exists():
        raise UsageError(
            f"'{path}' exists", hint="nothing is replaced: give another name with --report"
        )
    if path.suffix.lower() not in _PAGES:
        raise UsageError(
            f"'{path}': a report is a page in HTML", hint="give it a name that ends in .html"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"'{path}' cannot be written: its folder does not exist",
            hint="give a file in a folder that exists with --report",
        )
