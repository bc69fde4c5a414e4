"""Checks output paths: results never go among the images, and never replace other files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tltool.data.checks.findings import COLUMNS
from tltool.data.sources.listing import Listing
from tltool.errors import UsageError
from tltool.evaluation.report.data_report import MARK
from tltool.recipe.source_text import anchored, local_path

REPORT_FILE = "data_report.html"
ISSUES_FILE = "data_issues.csv"
SPLIT_FILE = "split.csv"
_READ = 2000  # bytes at the start of a report, which contain its mark
_MARK = re.compile(rf'<meta name="{MARK}" content="(\w+)">')


def check_outside_images(folder: Path, listing: Listing, *, option: str) -> None:
    """Check that an output folder is not among the images of a source.

    Args:
        folder: for results.
        listing: of the source.
        option: that sets the folder, for the error.

    Raises:
        UsageError: it is among the images.
    """
    resolved = folder.resolve()
    if any(resolved.is_relative_to(each) for each in _image_folders(listing)):
        raise _among_images(folder, listing.source, option)


def check_report(source: str, report: Path | str | None) -> None:
    """Check the folder of a report before the images are listed.

    Raises:
        UsageError: it or a parent is a file, or it is inside the folder of the images, or contains
            a file of the same name that is not a report of a check.
    """
    folder = report_folder(source, report)
    existing = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), None)
    if existing is not None and not existing.is_dir():
        raise UsageError(
            f"'{folder}' cannot be a folder: '{existing}' is a file",
            hint="give another folder with --out",
        )
    images = Path(local_path(source))
    if os.path.isdir(images) and folder.resolve().is_relative_to(images.resolve()):  # noqa: PTH112
        raise _among_images(folder, source, "--out")


def _among_images(folder: Path, source: str, option: str) -> UsageError:
    return UsageError(
        f"'{folder}' is inside the folder of the images of {source}",
        hint=f"give another folder with {option}",
    )


def _image_folders(listing: Listing) -> Iterator[Path]:
    """Yield the folder of the source, and each folder of images or of class folders."""
    source = Path(local_path(listing.source))
    if source.is_dir():
        yield source.resolve()
    texts = {os.path.dirname(text) for text in listing.columns.path_texts}  # noqa: PTH120
    folders = {Path(text) for text in texts} | {path.parent for path in listing.ood_images}
    labels = set(listing.columns.classes())
    folders |= {folder.parent for folder in folders if folder.name in labels}
    table = source.resolve().parent if source.is_file() else None
    for folder in {each.resolve() for each in folders}:
        # not the folder of a table: it may contain other files
        if table is None or not table.is_relative_to(folder):
            yield folder


def source_mark(source: str) -> str:
    """Return a hash of the source for its report, the same from every working directory."""
    return hashlib.sha256(anchored(source).encode(errors="surrogateescape")).hexdigest()[:16]


def report_folder(source: str, report: Path | str | None) -> Path:
    """Return the folder of a report: ``report``, or by default one in ``data_check``.

    Raises:
        UsageError: it contains a file of the same name that is not a report of a check.
    """
    if report is not None:
        _check_replaceable(Path(report))
        return Path(report)
    name = re.sub(r"[^\w.-]+", "_", _source_name(Path(source).resolve())) or "images"
    number, folder = 1, Path("data_check") / name
    while not _is_free(folder, source_mark(source)):
        number += 1
        folder = folder.with_name(f"{name}-{number}")
    return folder


def claim_report_folder(source: str, report: Path | str | None) -> Path:
    """Make the folder of ``report_folder`` and take it, before a check of other data does.

    Raises:
        UsageError: as ``report_folder``.
        OSError: it cannot be made.
    """
    while True:
        folder = report_folder(source, report)
        folder.mkdir(parents=True, exist_ok=True)
        mark = source_mark(source)
        try:
            with (folder / REPORT_FILE).open("x", encoding="utf-8") as file:
                file.write(f'<meta name="{MARK}" content="{mark}">\n')
        except FileExistsError:
            if report is None and not _is_free(folder, mark):
                continue  # the check of another source has just taken the name
        return folder


def _source_name(source: Path) -> str:
    """Return the name of a source; for a split.csv with the name of its folder."""
    return f"{source.parent.name}-{source.name}" if source.name == SPLIT_FILE else source.name


def _is_free(folder: Path, mark: str) -> bool:
    """Return whether a report would only replace an earlier one of the same source."""
    if (folder / REPORT_FILE).exists():
        return _mark_in(folder / REPORT_FILE) == mark and _is_issues(folder / ISSUES_FILE)
    return not (folder / ISSUES_FILE).exists()


def _check_replaceable(folder: Path) -> None:
    for path, is_ours in (
        (folder / REPORT_FILE, _mark_in(folder / REPORT_FILE) is not None),
        (folder / ISSUES_FILE, _is_issues(folder / ISSUES_FILE)),
    ):
        if path.exists() and not is_ours:
            raise UsageError(
                f"'{path}' exists and was not written by `tltool data check`",
                hint="give another folder with --out; the file was not changed",
            )


def _mark_in(path: Path) -> str | None:
    match = _MARK.search(_start(path))
    return match[1] if match else None


def _is_issues(path: Path) -> bool:
    return not path.exists() or _start(path).startswith(",".join(COLUMNS))


def _start(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_READ).decode("utf-8", errors="replace")
    except OSError:
        return ""
