"""The folder of runs that belong together: taken up again only with what it was begun with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import Observer
from tltool.recipe.source_text import anchored
from tltool.runs.durable import write_durably
from tltool.runs.json_text import from_json, to_json

RECORD = "begun_with.json"
_TOLD = {
    "photos": "other images",
    "test": "another test source",
    "weights": "another file of weights",
    "weights_sha256": "another content of the file of weights",
    "content": "other images in the same place: some were added, removed, moved or changed",
}


def check_folder(out: Path) -> None:
    """Refuse a folder that holds anything but runs that belong together.

    Raises:
        UsageError: ``out`` is a file, or a folder with something of the user's own.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"'{out}' is a file, not a folder", hint="choose another --out")
    if any(out.iterdir()) and _begun_with(out) is None:
        raise UsageError(
            f"'{out}' is not empty, and not the folder of a cross-validation or a sweep",
            hint="give another --out; nothing in it was touched",
        )


def begin(
    out: Path,
    listing: Listing,
    *,
    photos: str | Path,
    test: str | Path | None,
    weights: Path | None,
    observer: Observer,
) -> None:
    """Make the folder and note what its runs are made of, or compare that with the note in it.

    Every file is read once for it. Order, parts, groups, weights and folds of the images count
    too, their names and place in the cache do not.

    Args:
        out: the folder.
        listing: of all images, those of ``test`` among them.
        images: the source.
        test: a separate source of test images.
        weights: a file of pretrained weights.
        observer: told about the progress.

    Raises:
        UsageError: ``out`` is something else, or its runs were begun with something else.
        EnvironmentProblem: it cannot be written.
    """
    check_folder(out)
    observer.on_phase("photos", str(photos))
    now = {
        "photos": anchored(photos),
        "test": anchored(test) if test else None,
        "weights": str(weights.absolute()) if weights else None,
        "weights_sha256": _sha256(weights) if weights else None,
        "content": _content(listing, observer),
    }
    before = _begun_with(out)
    if before is not None and any(out.glob("*/manifest.json")):
        _compare(out, before, now)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_durably(out / RECORD, f"{to_json(now)}\n".encode())
    except OSError as error:
        raise EnvironmentProblem(
            f"the folder '{out}' cannot be written: {error.strerror}",
            hint="choose a folder that you may write to with --out",
        ) from None


def _begun_with(out: Path) -> Mapping[str, str | None] | None:
    try:
        found = from_json((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _compare(out: Path, before: Mapping[str, str | None], now: Mapping[str, str | None]) -> None:
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise UsageError(
            f"the runs in '{out}' were begun with {_TOLD[changed[0]]}"
            f"{_named(before.get(changed[0]), changed[0])}",
            hint="give another folder with --out, or what they were begun with",
        )


def _named(before: str | None, what: str) -> str:
    if what not in ("photos", "test", "weights"):
        return ""
    return f": '{before}'" if before else ": none"


def _content(listing: Listing, observer: Observer) -> str:
    """Return a SHA-256 (hex) over all that a run takes from its source."""
    digest = hashlib.sha256()
    total = len(listing.items) + len(listing.ood_images)
    for done, (path, facts) in enumerate(_facts(listing), start=1):
        digest.update(json.dumps([_sha256(path), *facts]).encode())
        observer.on_progress(done, total)
    return digest.hexdigest()


def _facts(listing: Listing) -> Iterable[tuple[Path, list[object]]]:
    for item in listing.items:
        place = (item.given_split, item.group, item.fold)
        yield item.path, [item.label, *place, item.weight, item.columns]
    for path in listing.ood_images:
        yield path, []


def _sha256(path: Path) -> str | None:
    """Return the digest of a file, None if it cannot be read: the audit says why."""
    if not path.is_file():  # a pipe would wait forever
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
