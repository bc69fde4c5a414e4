"""Where results may be written: never among the images, and over no file of another kind."""

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
from tltool.recipe.source_text import TFDS_FOLDER, anchored

REPORT_FILE = "data_report.html"
ISSUES_FILE = "data_issues.csv"
SPLIT_FILE = "split.csv"
_READ = 2000  # bytes, in which the mark of a report stands
_MARK = re.compile(rf'<meta name="{MARK}" content="(\w+)">')


def refuse_among(folder: Path, listing: Listing, *, option: str) -> None:
    """Refuse a folder for results that lies among the images of a source.

    Raises:
        UsageError: it does; ``option`` is what names another.
    """
    inside = folder.resolve()
    if any(inside.is_relative_to(place) for place in _places(listing)):
        raise _among(folder, listing.source, option)


def check_report(source: str, report: Path | str | None) -> None:
    """Refuse what can be known of the folder of a report before the images are listed.

    Raises:
        UsageError: it or one above it is a file, or it lies in the folder of the images, or holds
            a file of the same name that is no report of a check.
    """
    folder = report_folder(source, report)
    above = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), None)
    if above is not None and not above.is_dir():
        raise UsageError(
            f"'{folder}' can be no folder: '{above}' is a file",
            hint="give another folder with --out",
        )
    photos = Path(source.removeprefix(TFDS_FOLDER))
    if os.path.isdir(photos) and folder.resolve().is_relative_to(photos.resolve()):  # noqa: PTH112
        raise _among(folder, source, "--out")


def _among(folder: Path, source: str, option: str) -> UsageError:
    return UsageError(
        f"'{folder}' lies among the images of {source}",
        hint=f"give a folder outside of them with {option}",
    )


def _places(listing: Listing) -> Iterator[Path]:
    """Yield the folders of the images: a source's own, and each that holds images or classes."""
    source = Path(listing.source.removeprefix(TFDS_FOLDER))
    if source.is_dir():
        yield source.resolve()
    folders = {item.path.parent for item in listing.items} | {p.parent for p in listing.ood_images}
    labels = {item.label for item in listing.items}
    folders |= {folder.parent for folder in folders if folder.name in labels}
    table = source.resolve().parent if source.is_file() else None
    for folder in {each.resolve() for each in folders}:
        # images beside their table: then all beside it would count
        if table is None or not table.is_relative_to(folder):
            yield folder


def source_mark(source: str) -> str:
    """Return what a report says of its source, the same from every folder and telling nobody."""
    return hashlib.sha256(anchored(source).encode(errors="surrogateescape")).hexdigest()[:16]


def report_folder(source: str, report: Path | str | None) -> Path:
    """Return the folder of a report: the given one, or an own one of the source in data_check.

    Raises:
        UsageError: it holds a file of the same name that is no report of a check.
    """
    if report is not None:
        _check_own(Path(report))
        return Path(report)
    name = re.sub(r"[^\w.-]+", "_", _called(Path(source).resolve())) or "photos"
    number, folder = 1, Path("data_check") / name
    while not _is_free(folder, source_mark(source)):
        number += 1
        folder = folder.with_name(f"{name}-{number}")
    return folder


def _called(source: Path) -> str:
    """Return the name of a source; all that `data split` writes are called alike."""
    return f"{source.parent.name}-{source.name}" if source.name == SPLIT_FILE else source.name


def _is_free(folder: Path, mark: str) -> bool:
    """Tell whether a report would replace nothing but an earlier one of the same source."""
    if (folder / REPORT_FILE).exists():
        return _mark_in(folder / REPORT_FILE) == mark and _is_issues(folder / ISSUES_FILE)
    return not (folder / ISSUES_FILE).exists()


def _check_own(folder: Path) -> None:
    for path, own in (
        (folder / REPORT_FILE, _mark_in(folder / REPORT_FILE) is not None),
        (folder / ISSUES_FILE, _is_issues(folder / ISSUES_FILE)),
    ):
        if path.exists() and not own:
            raise UsageError(
                f"'{path}' is there and was not written by `tltool data check`",
                hint="give another folder with --out; it was not touched",
            )


def _mark_in(path: Path) -> str | None:
    found = _MARK.search(_start(path))
    return found[1] if found else None


def _is_issues(path: Path) -> bool:
    return not path.exists() or _start(path).startswith(",".join(COLUMNS))


def _start(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_READ).decode("utf-8", errors="replace")
    except OSError:
        return ""
