"""Copies of objects as files in the cache, complete and checked, or none.

Each object is downloaded once, to a name that contains its address, its version and the digest of
its bytes, so that an interrupted download is continued and a changed object is fetched again. A
copy of a source is a folder of hard links to these files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tltool.data.sources.source_cache import cached_copy, content_key, is_complete_copy
from tltool.errors import DataError, EnvironmentProblem, counted
from tltool.events import Observer
from tltool.storage.address import Stored, is_file_name
from tltool.storage.durable import write_durably
from tltool.storage.place import Place

_FORMAT = 1  # of the copies; increment when the same objects are copied to other files
_POOL = "objects"
_MAX_DISK_SHARE = 0.9  # of the free disk space
_AT_ONCE = 256  # objects, between two reports of progress
_HINT = "run the command again when nobody writes to it"


@dataclass(frozen=True)
class RemoteObject:
    """An object to copy.

    Attributes:
        place: in which it is.
        stored: its name, size and version.
        target: path of its copy in the folder of all copies.
    """

    place: Place
    stored: Stored
    target: str

    @property
    def address(self) -> str:
        """The address of the object, for messages."""
        return f"{self.place}/{self.stored.name}"


def copy_objects(
    source: str, objects: Sequence[RemoteObject], *, cache: Path, observer: Observer
) -> Path:
    """Return a folder with copies of objects, which ``last_copy`` finds later.

    Args:
        source: as the user named it, or another name of the same objects.
        objects: what to copy; not empty.
        cache: folder of all copies.
        observer: receives number, size and progress of the download.

    Raises:
        DataError: an object changes during the download, or cannot be a file here.
        EnvironmentProblem: the store does not answer, the disk is too small or cannot be written.
    """
    copy = _copy(source, objects, cache, observer)
    record = _record(source, cache)
    with suppress(OSError):  # it is needed only without a network
        record.parent.mkdir(exist_ok=True)
        write_durably(record, copy.parent.name.encode())
    return copy


def last_copy(source: str, *, cache: Path) -> Path | None:
    """Return the folder of the latest copy of a source, None if there is none; opens no connection.

    Args:
        source: as for ``copy_objects``.
        cache: folder of all copies.
    """
    try:
        folder = cache / _record(source, cache).read_text(encoding="utf-8") / "files"
    except (OSError, ValueError):
        return None
    return folder if is_complete_copy(folder) else None


def _record(source: str, cache: Path) -> Path:
    return cache / "latest" / hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()


def _copy(source: str, objects: Sequence[RemoteObject], cache: Path, observer: Observer) -> Path:
    _check_names(objects)
    lines = (f"{one.address} {one.stored.version} {one.target}" for one in objects)
    key = "\n".join([f"objects {_FORMAT}", *lines])

    def make(folder: Path) -> None:
        pool = cache / _POOL
        present = _present(pool, objects)
        missing = [one for one in objects if _key(one) not in present]
        if missing:
            _check_space(source, missing, cache)
            size = sum(one.stored.size for one in missing)
            observer.on_message(
                f"downloading {counted(len(missing), 'object', 'objects')} of {source}"
                f" ({size / 1e6:,.1f} MB) to {cache}"
            )
            present |= _download(missing, pool, folder.parent / "incoming", observer)
            _check_unchanged(missing, present)
        for one in objects:
            if not _linked(present[_key(one)], folder / one.target):
                raise _same_file(one, objects)

    return cached_copy(cache, PurePosixPath(str(objects[0].place)).name, key, make)


def _check_names(objects: Sequence[RemoteObject]) -> None:
    """Check that the names of the objects can be paths, all at the same time."""
    files = {one.target for one in objects}
    for one in objects:
        folders = map(str, PurePosixPath(one.target).parents)
        if not is_file_name(one.target) or not files.isdisjoint(folders):
            raise DataError(
                f"{one.place}: the object {one.stored.name!a} cannot be a file on this machine",
                hint="rename it, or leave it out: no part of its name may be empty, '..' or the"
                " name of another object",
            )


def _key(one: RemoteObject) -> str:
    text = f"{one.address} {one.stored.version}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:40]


def _present(pool: Path, objects: Sequence[RemoteObject]) -> dict[str, Path]:
    """Return the files of objects that are downloaded, by key; damaged ones are left out."""
    keys = {_key(one) for one in objects}
    found = {}
    for shard in sorted({key[:2] for key in keys}):
        with suppress(FileNotFoundError), os.scandir(pool / shard) as entries:
            for entry in entries:
                key, _, digest = entry.name.partition(".")
                if key in keys and content_key(Path(entry.path)) == digest:
                    found[key] = Path(entry.path)
    return found


def _check_space(source: str, missing: Sequence[RemoteObject], cache: Path) -> None:
    needed, free = sum(one.stored.size for one in missing), shutil.disk_usage(cache).free
    if needed > free * _MAX_DISK_SHARE:
        raise EnvironmentProblem(
            f"{source} needs {needed / 1e9:,.1f} GB in {cache}, where {free / 1e9:,.1f} GB are"
            " free",
            hint="free some disk space, or set TLTOOL_DATA_DIR to another folder",
        )


def _download(
    missing: Sequence[RemoteObject], pool: Path, incoming: Path, observer: Observer
) -> dict[str, Path]:
    """Download objects into the pool, and return their files by key."""
    files: dict[str, Path] = {}
    for place, of_place in _by_place(missing).items():
        for start in range(0, len(of_place), _AT_ONCE):
            batch = of_place[start : start + _AT_ONCE]
            parts = {one.stored.name: incoming / str(n) for n, one in enumerate(batch)}
            place.fetch(parts)
            for one in batch:
                files[_key(one)] = _keep(parts[one.stored.name], pool, one)
            observer.on_progress(len(files), len(missing), unit="objects")
    shutil.rmtree(incoming, ignore_errors=True)
    return files


def _keep(part: Path, pool: Path, one: RemoteObject) -> Path:
    """Move a download into the pool, under its final name."""
    if part.stat().st_size != one.stored.size:
        raise _changed(one)
    key = _key(one)
    file = pool / key[:2] / f"{key}.{content_key(part)}"
    file.parent.mkdir(parents=True, exist_ok=True)
    part.replace(file)
    return file


def _by_place(objects: Sequence[RemoteObject]) -> Mapping[Place, list[RemoteObject]]:
    by_place: dict[Place, list[RemoteObject]] = {}
    for one in objects:
        by_place.setdefault(one.place, []).append(one)
    return by_place


def _check_unchanged(downloaded: Sequence[RemoteObject], files: Mapping[str, Path]) -> None:
    """Check that the objects still have the versions of the listing before their download.

    Raises:
        DataError: one has not; its file is not kept.
    """
    for place, of_place in _by_place(downloaded).items():
        names = [one.stored.name for one in of_place]
        versions = {name: stored.version for name, stored in place.existing(names).items()}
        changed = [one for one in of_place if versions.get(one.stored.name) != one.stored.version]
        for one in changed:
            files[_key(one)].unlink()
        if changed:
            raise _changed(changed[0])


def _changed(one: RemoteObject) -> DataError:
    return DataError(f"{one.address} has changed while it was downloaded", hint=_HINT)


def _linked(file: Path, target: Path) -> bool:
    """Let a file of the pool appear in the copy; return False if its name is taken there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links
        if os.path.lexists(target):
            return False
        file.replace(target)
    return True


def _same_file(one: RemoteObject, objects: Sequence[RemoteObject]) -> DataError:
    """Return the error for an object whose name is that of another one on this disk."""
    name = _folded(one.target)
    same = (each for each in objects if each is not one and _folded(each.target) == name)
    other = next(same, None)
    return DataError(
        f"{one.address} has the same name on this disk as "
        f"{'another object' if other is None else other.address}",
        hint="rename one of them: capital and small letters are not enough here",
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
