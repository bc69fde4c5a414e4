"""Every file opened and fully decoded once, before the first training step."""

from __future__ import annotations

import csv
import math
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tltool.data.audit.inspect_file import Decoder, image_decoder, inspect_file
from tltool.data.catalog import Catalog, Item
from tltool.data.decoding.header import BadFileError
from tltool.data.sources.listing import Listing
from tltool.errors import DataError, one_line
from tltool.events import Observer

ACROSS_PARTS = "duplicate across splits"
TWO_LABELS = "same image, different labels"
_NAMED_AT_MOST = 5
_MANY = 0.1  # of all files
_PROGRESS_STEPS = 200


@dataclass(frozen=True)
class Issue:
    """Something about one file worth knowing; ``bad`` ones are left out of the catalog."""

    path: Path
    kind: str
    detail: str
    bad: bool


@dataclass(frozen=True)
class Audit:
    """The usable items with what is known of them, and all issues."""

    catalog: Catalog
    issues: tuple[Issue, ...]
    listing: Listing


def audit(
    listing: Listing,
    *,
    on_bad: Literal["skip", "fail"],
    max_bad_fraction: float,
    max_pixels: int,
    observer: Observer,
) -> Audit:
    """Decode every file by the decoder that training uses, and keep those that can be used.

    Args:
        listing: the files, as their source found them.
        on_bad: ``skip`` warns about bad files and leaves them alone, ``fail`` stops.
        max_bad_fraction: over this share of bad files (0 to 1), ``skip`` stops too.
        max_pixels: larger images are bad; they are recognised without being decoded.
        observer: hears the progress and the warnings.

    Raises:
        DataError: nothing is readable, a whole class is bad, or there is too much bad.
    """
    items: list[Item] = []
    issues = _listing_issues(listing)
    total = len(listing.items)
    for done, (item, found) in enumerate(_checked(listing.items, max_pixels), start=1):
        issues += found
        if not any(issue.bad for issue in found):
            items.append(item)
        if done % max(total // _PROGRESS_STEPS, 1) == 0 or done == total:
            observer.on_progress(done, total)
    bad = [issue for issue in issues if issue.bad]
    _check_classes(listing, items, bad)
    _check_policy(bad, total, on_bad, max_bad_fraction)
    issues += _content_issues(items)
    _report(bad, total, listing.source, observer)
    names = tuple(sorted({item.label for item in items}))
    return Audit(Catalog(listing.root, tuple(items), names), tuple(issues), listing)


def write_issues(path: Path, issues: Sequence[Issue]) -> None:
    """Write ``data_issues.csv``: path, kind, used (yes or no), detail; UTF-8.

    Bytes of names that are not UTF-8 are escaped: a backslash, ``udc`` and two digits.
    """
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "kind", "used", "detail"])
        for issue in issues:
            writer.writerow([issue.path, issue.kind, "no" if issue.bad else "yes", issue.detail])


def _listing_issues(listing: Listing) -> list[Issue]:
    stray = [
        Issue(path, "outside the class folders", "it has no label and is not used", bad=False)
        for path in listing.stray
    ]
    empty = [
        Issue(path, "empty class folder", "it holds no image and is no class", bad=False)
        for path in listing.empty_classes
    ]
    return stray + empty


def _checked(items: Sequence[Item], max_pixels: int) -> Iterator[tuple[Item, list[Issue]]]:
    """Check all items in parallel and yield them in order."""
    decode = image_decoder()
    # The first call gets the graph ready: alone, or every thread would do that work.
    yield from (_check(item, max_pixels, decode) for item in items[:1])
    pool = ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16))
    try:
        yield from pool.map(lambda item: _check(item, max_pixels, decode), items[1:])
    finally:  # after an error or Ctrl-C, the files still waiting are not opened
        pool.shutdown(cancel_futures=True)


def _check(item: Item, max_pixels: int, decode: Decoder) -> tuple[Item, list[Issue]]:
    try:
        found = inspect_file(item, max_pixels=max_pixels, decode=decode)
    except BadFileError as bad:
        return item, [Issue(item.path, bad.kind, bad.detail, bad=True)]
    return found.item, [Issue(item.path, n.kind, n.detail, bad=False) for n in found.notes]


def _check_classes(listing: Listing, items: Sequence[Item], bad: Sequence[Issue]) -> None:
    if not items:
        raise DataError(
            f"none of the {len(listing.items)} images in {listing.source} can be read"
            f" ({_described(bad)})"
        )
    lost = sorted({item.label for item in listing.items} - {item.label for item in items})
    if lost:
        names = ", ".join(repr(name) for name in lost)
        raise DataError(
            f"no image of class {names} can be read ({_described(bad)})",
            hint="replace these files, or remove the folder of the class",
        )


def _check_policy(bad: Sequence[Issue], total: int, on_bad: str, most: float) -> None:
    if not bad or (on_bad == "skip" and len(bad) <= most * total):
        return
    allowed = "" if on_bad == "fail" else f", more than the {most:.0%} that may be skipped"
    leave_out = "data.on_bad: skip" if on_bad == "fail" else allowing(len(bad), total)
    raise DataError(
        f"{len(bad)} of {total} files cannot be used{allowed}: {_described(bad)}",
        hint=f"repair or remove these files; when training, {leave_out} leaves them out",
    )


def allowing(lost: int, total: int) -> str:
    """Return the setting that lets a run leave out ``lost`` of ``total`` files."""
    return f"--set data.max_bad_fraction={math.ceil(100 * lost / total) / 100:g}"


def _described(bad: Sequence[Issue]) -> str:
    shown = "; ".join(
        f"{one_line(f'{issue.path.parent.name}/{issue.path.name}')}: {issue.kind}"
        for issue in bad[:_NAMED_AT_MOST]
    )
    more = len(bad) - _NAMED_AT_MOST
    return shown if more <= 0 else f"{shown}; and {more} more"


def _content_issues(items: Sequence[Item]) -> list[Issue]:
    """Note the same content under two labels, or in two of the splits that the source gave."""
    same: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        same[item.sha256].append(item)
    issues = []
    for copies in same.values():
        labels = sorted({item.label for item in copies})
        splits = sorted({item.given_split or "train" for item in copies})
        if len(labels) > 1:
            issues += _noted(copies, TWO_LABELS, labels)
        if len(splits) > 1:
            issues += _noted(copies, ACROSS_PARTS, splits)
    return issues


def _noted(copies: Sequence[Item], kind: str, found: Sequence[str]) -> list[Issue]:
    detail = "the same content is in " + " and ".join(found)
    return [Issue(item.path, kind, detail, bad=False) for item in copies]


def _report(bad: Sequence[Issue], total: int, source: str, observer: Observer) -> None:
    if not bad:
        return
    kinds = Counter(issue.kind for issue in bad)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    observer.on_message(
        f"{len(bad)} files cannot be used and are left alone ({summary}): {_described(bad)}",
        level="warning",
    )
    if len(bad) > _MANY * total:
        observer.on_message(
            f"{len(bad) / total:.0%} of the images are left out, and no figure says anything of "
            f"such images: tltool data check {shlex.quote(source)} says what to do about each",
            level="warning",
        )
