"""Opens and fully decodes every file once, before the first training step."""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from tltool.data.audit.bad_files import mend_of
from tltool.data.audit.file_warnings import SERIOUS, FileWarning
from tltool.data.audit.inspect_file import Decoder, image_decoder, inspect_file
from tltool.data.audit.jpeg_damage import find_damage
from tltool.data.catalog import Catalog, Item
from tltool.data.corrections.apply import CorrectedItems
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.decoding.native_messages import JpegWarnings
from tltool.data.duplicates.exact_copies import exact_copies
from tltool.data.item_columns import ItemColumns
from tltool.data.path_as_text import path_as_text
from tltool.data.sources.listing import Listing
from tltool.errors import DataError, counted, one_line, some_of
from tltool.events import Observer
from tltool.runs.csv_cells import CsvWriter
from tltool.storage.durable import replaced_file

LEAKAGE = "duplicate across splits"
LABEL_CONFLICT = "same image, different labels"
_NAMED_AT_MOST = 5
_MENDS_AT_MOST = 3
_BLOCK = 64  # files
_MANY = 0.1  # of all files
_PROGRESS_STEPS = 200


@path_as_text
@dataclass(frozen=True, slots=True)
class Issue:
    """A problem of one file; files with ``bad`` issues are left out of the catalog."""

    path: Path
    kind: str
    detail: str
    bad: bool
    mend: str = ""

    @classmethod
    def of(cls, path: Path, warning: FileWarning) -> Issue:
        """Return the issue of a usable file."""
        return cls(path, warning.kind, warning.detail, bad=False, mend=warning.mend)


_Inspected = tuple[Item, list[Issue]]
_Inspect = Callable[[Item], _Inspected]


@dataclass(frozen=True)
class Audit:
    """The usable images, the issues of all files, and what corrections have changed, if any."""

    catalog: Catalog
    issues: tuple[Issue, ...]
    listing: Listing
    corrected: CorrectedItems | None = None


def audit(
    listing: Listing,
    *,
    on_bad: Literal["skip", "fail"],
    max_bad_fraction: float,
    max_pixels: int,
    observer: Observer,
) -> Audit:
    """Decode every file with the decoder used in training, and keep the usable ones.

    Args:
        listing: the files of a source.
        on_bad: ``skip`` warns about bad files and leaves them out, ``fail`` raises an error.
        max_bad_fraction: above this share of bad files (0 to 1), ``skip`` raises an error too.
        max_pixels: larger images are bad; they are not decoded.
        observer: receives the progress and the warnings.

    Raises:
        DataError: no file is readable, none of a class is, or too many are bad.
    """
    items = ItemColumns()
    issues = _listing_issues(listing)
    total = len(listing.items)
    for done, (item, of_item) in enumerate(_inspected(listing.columns, max_pixels), start=1):
        issues += of_item
        if not any(issue.bad for issue in of_item):
            items.append(item)
        if done % max(total // _PROGRESS_STEPS, 1) == 0 or done == total:
            observer.on_progress(done, total)
    bad = [issue for issue in issues if issue.bad]
    _check_classes(listing, items, bad)
    _check_policy(bad, total, on_bad, max_bad_fraction)
    issues += content_issues(items)
    _warn_about_bad_files(bad, total, listing.source, observer)
    _warn_about_content(issues, observer)
    return Audit(Catalog(listing.root, items, tuple(items.classes())), tuple(issues), listing)


def write_issues(path: Path, issues: Sequence[Issue]) -> None:
    """Write ``data_issues.csv``: path, kind, used (yes or no), detail; UTF-8.

    Bytes of file names that are not UTF-8 are escaped as a backslash, ``udc`` and two digits.
    """
    with (
        replaced_file(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = CsvWriter(file)
        writer.writerow(["path", "kind", "used", "detail"])
        for issue in issues:
            writer.writerow([issue.path, issue.kind, "no" if issue.bad else "yes", issue.detail])


def _listing_issues(listing: Listing) -> list[Issue]:
    stray = [
        Issue(path, "outside the class folders", "no label; the image is not used", bad=False)
        for path in listing.stray
    ]
    empty = [
        Issue(path, "empty class folder", "no image; not used as a class", bad=False)
        for path in listing.empty_classes
    ]
    return stray + empty


def _inspected(items: ItemColumns, max_pixels: int) -> Iterator[tuple[Item, list[Issue]]]:
    """Inspect all items in parallel and yield them in order."""
    pool = ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16))
    inspect = partial(_inspect, max_pixels=max_pixels, decode=image_decoder())
    try:
        for start in range(0, len(items), _BLOCK):
            yield from _inspect_block([*items[start : start + _BLOCK]], inspect, pool)
    finally:  # after an error or Ctrl-C, the remaining files are not opened
        pool.shutdown(cancel_futures=True)


def _inspect_block(block: Sequence[Item], inspect: _Inspect, pool: Executor) -> list[_Inspected]:
    """Inspect items in parallel; if libjpeg warns, find out about which of them."""
    with JpegWarnings() as warnings:
        # The first call initialises the graph; in parallel, every thread would do that.
        inspected = [inspect(block[0]), *pool.map(inspect, block[1:])]
        if not warnings.take():
            return inspected
        return [(item, [*issues, *_damage(item, issues, warnings)]) for item, issues in inspected]


def _damage(item: Item, issues: Sequence[Issue], warnings: JpegWarnings) -> list[Issue]:
    if item.format != "jpeg" or any(issue.bad for issue in issues):
        return []
    found = find_damage(item.path, image_decoder(), warnings)
    return [] if found is None else [Issue.of(item.path, found)]


def _inspect(item: Item, *, max_pixels: int, decode: Decoder) -> _Inspected:
    try:
        inspected = inspect_file(item, max_pixels=max_pixels, decode=decode)
    except BadFileError as bad:
        return item, [Issue(item.path, bad.kind, bad.detail, bad=True, mend=mend_of(bad))]
    return inspected.item, [Issue.of(item.path, warning) for warning in inspected.warnings]


def _check_classes(listing: Listing, items: ItemColumns, bad: Sequence[Issue]) -> None:
    if not items:
        raise DataError(
            f"none of the {len(listing.items)} images in {listing.source} can be read"
            f" ({_summary(bad)})",
            hint=_mends(bad),
        )
    lost = sorted(set(listing.columns.classes()) - set(items.classes()))
    if lost:
        names = some_of([repr(name) for name in lost])
        raise DataError(
            f"no image of class {names} can be read ({_summary(bad)})",
            hint=f"{_mends(bad)}; or remove the class",
        )


def _check_policy(bad: Sequence[Issue], total: int, on_bad: str, most: float) -> None:
    if not bad or (on_bad == "skip" and len(bad) <= most * total):
        return
    limit = "" if on_bad == "fail" else f" (limit: {most:.0%})"
    setting = "data.on_bad: skip" if on_bad == "fail" else bad_fraction_setting(len(bad), total)
    raise DataError(
        f"{len(bad)} of {total} files cannot be used{limit}: {_summary(bad)}",
        hint=f"{_mends(bad)}; or train without them: {setting}",
    )


def bad_fraction_setting(bad: int, total: int) -> str:
    """Return the setting with which a run skips ``bad`` of ``total`` files."""
    return f"--set data.max_bad_fraction={math.ceil(100 * bad / total) / 100:g}"


def _summary(bad: Sequence[Issue]) -> str:
    shown = "; ".join(
        f"{one_line(f'{issue.path.parent.name}/{issue.path.name}')}: {_reason(issue)}"
        for issue in bad[:_NAMED_AT_MOST]
    )
    more = len(bad) - _NAMED_AT_MOST
    return shown if more <= 0 else f"{shown}; and {more} more"


def _reason(issue: Issue) -> str:
    """Return the kind, or what the file is instead of a supported image."""
    _, is_named, name = issue.detail.partition(" is ")
    return name if is_named and issue.kind in ("unsupported", "not an image") else issue.kind


def _mends(bad: Sequence[Issue]) -> str:
    """Return what to do about unusable files, first about the most common problem."""
    mends = Counter(issue.mend for issue in bad).most_common(_MENDS_AT_MOST)
    return "; ".join(mend for mend, _ in mends)


def content_issues(items: ItemColumns) -> list[Issue]:
    """Return an issue for every exact duplicate with several labels or in several splits."""
    issues = []
    for places in exact_copies(items):
        copies = [items[place] for place in places.tolist()]
        labels = sorted({item.label for item in copies})
        splits = sorted({item.given_split or "train" for item in copies})
        if len(labels) > 1:
            issues += _duplicate_issues(copies, LABEL_CONFLICT, labels)
        if len(splits) > 1:
            issues += _duplicate_issues(copies, LEAKAGE, splits)
    return issues


def _duplicate_issues(copies: Sequence[Item], kind: str, places: Sequence[str]) -> list[Issue]:
    detail = "exact duplicates in " + " and ".join(places)
    return [Issue(item.path, kind, detail, bad=False) for item in copies]


def _warn_about_bad_files(
    bad: Sequence[Issue], total: int, source: str, observer: Observer
) -> None:
    if not bad:
        return
    kinds = Counter(issue.kind for issue in bad)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    observer.on_message(
        counted(
            len(bad), "file cannot be used and is skipped", "files cannot be used and are skipped"
        )
        + f" ({summary}): {_summary(bad)}; {_mends(bad)}",
        level="warning",
    )
    if len(bad) > _MANY * total:
        observer.on_message(
            f"{len(bad) / total:.0%} of the images are skipped, so the metrics do not cover images "
            f"like these; for advice on each: tltool data check {shlex.quote(source)}",
            level="warning",
        )


def _warn_about_content(issues: Sequence[Issue], observer: Observer) -> None:
    """Report each kind of file that shows the model something else than its user, in one line."""
    for kind in SERIOUS:
        of_kind = [issue for issue in issues if issue.kind == kind]
        if of_kind:
            first = of_kind[0]
            example = one_line(f"{first.path.parent.name}/{first.path.name}")
            observer.on_message(
                f"{kind}: {len(of_kind):,} image{'s' * (len(of_kind) > 1)}, such as {example} "
                f"({first.detail}): {first.mend}",
                level="warning",
            )
