"""A folder of a disk as a place for data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tltool.errors import DataError, EnvironmentProblem
from tltool.storage.address import Stored
from tltool.storage.durable import (
    flush,
    is_unfinished,
    publish_new,
    replaced_file,
    unfinished_name,
    write_durably,
)


class Folder:
    """Files below a folder; see ``Place`` for the methods."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        """Do nothing: a folder needs no packages."""

    def read(self, name: str, start: int, stop: int | None) -> bytes:
        """Return bytes of a file."""
        path = self._root / name
        try:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(-1 if stop is None else max(stop - start, 0))
        except FileNotFoundError:
            raise missing_object(path) from None
        except OSError as error:
            raise _problem(path, "read", error) from error

    def write_whole(self, name: str, data: bytes) -> None:
        """Replace a file in one step."""
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, data)
        except OSError as error:
            raise _problem(path, "written", error) from error

    def create(self, name: str, data: bytes) -> bool:
        """Write a new file, whole; return False if there is one."""
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _create(path, data)
        except OSError as error:
            raise _problem(path, "written", error) from error

    def info(self, name: str) -> Stored | None:
        """Return what a listing says of one file; None if there is none."""
        path = self._root / name
        try:
            return _stored(path, name) if path.is_file() else None
        except OSError as error:
            raise _problem(path, "read", error) from error

    def listing(self, prefix: str) -> list[Stored]:
        """Return the files whose names start with ``prefix``."""
        top = self._root / prefix.rpartition("/")[0]
        found = []
        for place, _, names in os.walk(top, onerror=self._raise_unreadable):
            for name in names:
                path = Path(place, name)
                relative = path.relative_to(self._root).as_posix()
                if relative.startswith(prefix) and not is_unfinished(name) and path.is_file():
                    found.append(_stored(path, relative))
        return sorted(found)

    def fetch(self, files: Mapping[str, Path]) -> None:
        """Copy files to paths on this machine."""
        for name, path in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with replaced_file(path) as part:
                    shutil.copyfile(self._root / name, part)
            except FileNotFoundError:
                raise missing_object(self._root / name) from None

    def remove(self, name: str) -> None:
        """Remove a file."""
        path = self._root / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _problem(path, "removed", error) from error

    def _raise_unreadable(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise _problem(Path(error.filename), "read", error) from error


def _stored(path: Path, name: str) -> Stored:
    status = path.stat()
    return Stored(name, status.st_size, f"{status.st_size} {status.st_mtime_ns}")


def _create(path: Path, data: bytes) -> bool:
    part = unfinished_name(path)
    try:
        part.write_bytes(data)
        flush(part)
        publish_new(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    flush(path.parent)
    return True


def missing_object(name: object) -> DataError:
    """Return the error about an object or a file that does not exist."""
    return DataError(f"there is no {name}", hint="check the name for a typo")


def _problem(path: Path, how: str, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"'{path}' cannot be {how}: {error.strerror or error}",
        hint="check its permissions and the free space of the disk",
    )
