"""Checks of arguments that need no framework, whose import takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tltool.errors import DataError, UsageError
from tltool.export.export_formats import FORMATS, other_format, saved_model_beside
from tltool.runs.layout import DESCRIPTION_FILE

_MODEL_FILES = {one.file for one in FORMATS.values()}
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


def check_classifier(path: Path) -> None:
    """Check that the model exists and is no export that only other programs run.

    Raises:
        UsageError: it does not exist.
        DataError: it is an export to a format such as ONNX.
    """
    check_model(path)
    folder = path if path.is_dir() else path.parent
    if (folder / DESCRIPTION_FILE).is_file() or not (folder == path or path.name in _MODEL_FILES):
        return
    other = other_format(folder)
    if other is not None:
        raise DataError(
            f"'{path}' contains {other.file}; predictions need a run or a SavedModel",
            hint=saved_model_beside(folder, other),
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


def check_output_folder(folder: Path) -> None:
    """Check that a folder of pictures or of a demo is no file.

    Raises:
        UsageError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise file_instead_of_folder(folder)


def file_instead_of_folder(path: Path) -> UsageError:
    """Return the error about a file where ``--out`` needs a folder."""
    return UsageError(f"'{path}' is a file", hint="give a folder with --out")


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
