"""The folder of a group of runs: continued only with the data and weights that it began with."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.recipe.source_text import anchored
from tltool.runs.digests import file_digest
from tltool.runs.json_text import from_json, to_json
from tltool.runs.layout import GROUP_FILE, make_new_folder
from tltool.runs.lock import NAME as LOCK_FILE
from tltool.runs.lock import locked
from tltool.runs.run_options import RunOptions
from tltool.storage.durable import write_durably
from tltool.workflows.seen_files import check_present

_CHANGES = {
    "data": "other images",
    "test": "another test source",
    "weights": "another file of weights",
    "weights_sha256": "another content of the file of weights",
    "corrections_sha256": "other corrections of labels",
    "content": "other images in the same place: some were added, removed, moved or changed",
}


def check_group_folder(out: Path) -> None:
    """Check that a folder can hold the runs of one group.

    Raises:
        UsageError: ``out`` is a file, or a folder with something of the user's own.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"'{out}' is a file, not a folder", hint="choose another --out")
    others = any(path.name != LOCK_FILE for path in out.iterdir())
    if others and _recorded(out) is None:
        raise UsageError(
            f"'{out}' is not empty, and not the folder of a cross-validation or a sweep",
            hint="give another --out; nothing in it was touched",
        )


@contextmanager
def group_folder(out: Path | None, name: str, *, now: datetime.datetime) -> Iterator[Path]:
    """Yield the folder of a group: ``out``, or a new ``runs/name-UTC`` that no other group has.

    A new one is removed at the end if nothing was written into it.

    Raises:
        UsageError: as ``check_group_folder``.
        EnvironmentProblem: it cannot be made.
    """
    if out is not None:
        check_group_folder(out)
        yield out
        return
    folder = Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}"
    try:
        folder = make_new_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty: the runs are in it
            folder.rmdir()


def list_group(data: DataSection, options: RunOptions, observer: Observer) -> Listing:
    """Return all images of a group of runs, those of the test source among them.

    Raises:
        DataError: they cannot be listed.
    """
    return read_source(
        options.data,
        test=options.test,
        ood_images=data.ood_images,
        pixels=data.pixels,
        offline=options.offline,
        observer=observer,
    )


@contextmanager
def open_run_group(
    out: Path, listing: Listing, options: RunOptions, observer: Observer
) -> Iterator[None]:
    """Make the folder and record the data of its runs, or compare them with the record in it.

    The folder is locked meanwhile: of two processes that start at once, one is refused.

    Every file is read once for it. Order, parts, groups, weights and folds of the images count
    too, their names and place in the cache do not.

    Args:
        out: the folder.
        listing: of all images, those of the test source among them.
        options: what the runs are called with.
        observer: receives the progress.

    Raises:
        UsageError: ``out`` is something else or in use, or its runs have other data or weights.
        EnvironmentProblem: it cannot be written.
    """
    check_group_folder(out)
    observer.on_phase("data", options.data)
    weights = options.weights
    now = {
        "data": anchored(options.data),
        "test": anchored(options.test) if options.test else None,
        "weights": str(weights.absolute()) if weights else None,
        **{name: _sha256(path) if path else None for name, path in _files(options).items()},
        "content": _content(listing, observer),
    }
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(out))
            _record(out, now)
        except OSError as error:
            raise _unwritable(out, error) from None
        yield


def check_same_group(out: Path, data: DataSection, options: RunOptions) -> None:
    """Check that this machine of a cluster has the folder of a group, and all that its runs read.

    Args:
        out: the folder.
        data: that with which the images were listed for the record.
        options: what the runs are called with.

    Raises:
        EnvironmentProblem: it does not see the folder, or has other weights, corrections or images.
        DataError: the images cannot be listed.
    """
    check_present(out / GROUP_FILE)
    recorded = _recorded(out) or {}
    for name, path in _files(options).items():
        if path is not None:
            check_present(path)
            if _sha256(path) != recorded.get(name):
                raise _has_other(f"another file '{path}'")
    silent = SilentObserver()
    if _content(list_group(data, options, silent), silent) != recorded.get("content"):
        raise _has_other(f"other images in '{options.data}'")


def _files(options: RunOptions) -> Mapping[str, Path | None]:
    """Return the files beside the images that decide what runs learn, by the key of the digest."""
    return {"weights_sha256": options.weights, "corrections_sha256": options.corrections}


def _has_other(what: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the machine '{platform.node()}' of the cluster has {what} than that of this command",
        hint="mount the same disk under the same path on every machine",
    )


def _record(out: Path, now: Mapping[str, str | None]) -> None:
    """Record the data of a group, or compare them with the record of its earlier runs."""
    check_group_folder(out)
    before = _recorded(out)
    if before is not None and any(out.glob("*/manifest.json")):
        _compare(out, before, now)
    else:
        write_durably(out / GROUP_FILE, f"{to_json(now)}\n".encode())


def _unwritable(out: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the folder '{out}' cannot be written: {error.strerror}",
        hint="choose a folder that you may write to with --out",
    )


def _recorded(out: Path) -> Mapping[str, str | None] | None:
    try:
        document = from_json((out / GROUP_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _compare(out: Path, before: Mapping[str, str | None], now: Mapping[str, str | None]) -> None:
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise UsageError(
            f"the runs in '{out}' were started with {_CHANGES[changed[0]]}"
            f"{_named(before.get(changed[0]), changed[0])}",
            hint="give another folder with --out, or what they were started with",
        )


def _named(before: str | None, what: str) -> str:
    if what not in ("data", "test", "weights"):
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
        return file_digest(path)
    except OSError:
        return None
