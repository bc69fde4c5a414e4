"""One interface to read and write data in a folder or in an object store."""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from tltool.errors import DataError, EnvironmentProblem
from tltool.storage.address import Address, Stored, is_file_name, parse_address
from tltool.storage.folder import Folder
from tltool.storage.object_store import ObjectStore

_MOST_LISTINGS = 64  # to find some objects


class _Store(Protocol):
    def check(self) -> None: ...
    def read(self, name: str, start: int, stop: int | None) -> bytes: ...
    def write_whole(self, name: str, data: bytes) -> None: ...
    def create(self, name: str, data: bytes) -> bool: ...
    def info(self, name: str) -> Stored | None: ...
    def listing(self, prefix: str) -> list[Stored]: ...
    def fetch(self, files: Mapping[str, Path]) -> None: ...
    def remove(self, name: str) -> None: ...


class Place:
    """A folder, or the objects below an address, whose names are relative to it.

    It opens no connection before the first read or write, and can be pickled. Names have slashes
    on every system: ``features/000012.shard``.

    Args:
        url: a path, ``file://``, ``s3://BUCKET/FOLDER``, ``gs://…``, ``az://…``; ``memory://…`` is
            for tests.

    Raises:
        UsageError: the address is not valid, or has a password in it.

    Examples:
        >>> place = Place("memory://runs/a")
        >>> place.create("shard-0", b"12"), place.create("shard-0", b"34")
        (True, False)
        >>> place.read("shard-0"), place.names()
        (b'12', ['shard-0'])
    """

    def __init__(self, url: str | Path) -> None:
        self.address: Address = parse_address(url)
        is_folder = self.address.scheme == "file"
        self._store: _Store = (
            Folder(Path(self.address.path)) if is_folder else ObjectStore(self.address)
        )

    def __str__(self) -> str:
        return str(self.address)

    def __reduce__(self) -> tuple[type[Place], tuple[str]]:
        return Place, (str(self),)

    def check(self) -> None:
        """Check that the packages for this place are installed; opens no connection.

        Raises:
            EnvironmentProblem: they are not.
        """
        self._store.check()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes ``start`` to ``stop`` of an object; fewer if it is shorter.

        Args:
            name: of the object.
            start: first byte, at least 0.
            stop: the byte after the last one; None is the end.

        Raises:
            DataError: there is no such object.
            EnvironmentProblem: the storage does not answer, or refuses.
        """
        if stop is not None and stop <= start:
            return b""
        return self._store.read(self._checked(name), start, stop)

    def write_whole(self, name: str, data: bytes) -> None:
        """Write an object, or replace it, in one step: a reader sees the old one or the new one.

        Raises:
            EnvironmentProblem: the storage is full, does not answer, or refuses.
        """
        self._store.write_whole(self._checked(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a new object in one step, and return whether this call made it.

        Of several writers at the same time exactly one makes it; none replaces it. A request that
        is repeated because its answer was lost can return False for an object that it made itself,
        so writers of one name must write the same bytes. On a disk without hard links, such as
        exFAT, two writers in the same instant can both succeed.

        Raises:
            EnvironmentProblem: the storage is full, does not answer, or refuses.
        """
        return self._store.create(self._checked(name), data)

    def check_exclusive(self) -> None:
        """Check that ``create`` makes no object twice: some servers ignore its condition.

        Raises:
            EnvironmentProblem: this one does, or it does not answer, or refuses.
        """
        name = f".check-{uuid.uuid4().hex}"
        try:
            if not self.create(name, b"1") or self.create(name, b"2"):
                raise EnvironmentProblem(
                    f"{self} lets two writers create the same object",
                    hint="several processes need a store with conditional writes, as Amazon S3 has",
                )
        finally:
            self.remove(name)

    def listing(self, prefix: str = "") -> list[Stored]:
        """Return all objects whose names start with ``prefix``, sorted by name.

        Raises:
            EnvironmentProblem: there is no such bucket, or it does not answer, or refuses.
        """
        return self._store.listing(prefix)

    def info(self, name: str) -> Stored | None:
        """Return what ``listing`` says of one object, by one request; None if there is none.

        Raises:
            EnvironmentProblem: as ``listing``.
        """
        return self._store.info(self._checked(name))

    def names(self, prefix: str = "") -> list[str]:
        """Return the sorted names that start with ``prefix``; see ``listing``."""
        return [stored.name for stored in self.listing(prefix)]

    def existing(self, names: Iterable[str]) -> dict[str, Stored]:
        """Return those of some objects that exist, by name; other folders are not listed.

        Raises:
            EnvironmentProblem: as ``listing``.
        """
        wanted, found, listed = set(names), dict[str, Stored](), list[str]()
        if len(wanted) == 1:
            only = self._store.info(*wanted)
            return {only.name: only} if only else {}
        for prefix in _prefixes(wanted):
            if not (listed and prefix.startswith(listed[-1])):
                listed.append(prefix)
                objects = self.listing(prefix)
                found |= {one.name: one for one in objects if one.name in wanted}
        return found

    def fetch(self, files: Mapping[str, Path]) -> None:
        """Copy objects to paths on this machine, many at the same time; each appears whole.

        Args:
            files: name of an object to the path of its copy; its folder is made.

        Raises:
            DataError: there is no such object.
            EnvironmentProblem: the storage does not answer, or refuses.
            OSError: a copy cannot be written.
        """
        self._store.fetch({self._checked(name): path for name, path in files.items()})

    def local_copy(self, names: Iterable[str], folder: Path) -> None:
        """Copy objects into a folder, under their names; see ``fetch``."""
        self.fetch({name: folder / self._checked(name) for name in names})

    def remove(self, name: str) -> None:
        """Remove an object; it may be absent.

        Raises:
            EnvironmentProblem: the storage does not answer, or refuses.
        """
        self._store.remove(self._checked(name))

    def _checked(self, name: str) -> str:
        """Return the name of an object, which never leads out of the place."""
        if not is_file_name(name):
            raise DataError(
                f"{self}: {name!a} cannot be the name of a file", hint="rename the object"
            )
        return name


def _prefixes(names: Collection[str]) -> list[str]:
    """Return sorted prefixes of names, one for each folder; for many folders those above them."""
    paths = [name.split("/")[:-1] for name in names]
    for depth in range(max(map(len, paths), default=0), -1, -1):
        groups: dict[str, list[str]] = defaultdict(list)
        for name, path in zip(names, paths, strict=True):
            groups["/".join(path[:depth])].append(name)
        if len(groups) <= _MOST_LISTINGS:
            break
    # RUF071: a prefix of names, not a path
    return sorted(os.path.commonprefix(each) for each in groups.values())  # noqa: RUF071
