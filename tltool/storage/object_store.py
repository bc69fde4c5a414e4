"""An object store as a place for data: S3, Google Cloud Storage, Azure Blob Storage, by fsspec.

It is the only module that imports fsspec, which each extra of ``address.EXTRAS`` installs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tltool.errors import EnvironmentProblem
from tltool.storage.address import EXTRAS, Address, Stored
from tltool.storage.durable import removed_on_error, unfinished_name
from tltool.storage.folder import missing_object
from tltool.storage.store_errors import (
    is_after_end,
    is_conflict,
    is_local,
    is_missing_bucket,
    missing_bucket,
    store_problem,
    wrong_settings,
)

_FIRST_ANSWER = 15.0  # seconds until a store that does not answer is an error
_IN_FLIGHT = 64  # requests for objects at the same time
_ATTEMPTS = 5  # of a write that meets another one of the same name
_LOGGERS = ("s3fs", "gcsfs", "adlfs", "azure", "google")
_VERSIONS = ("ETag", "etag", "generation", "LastModified", "last_modified", "created")


class ObjectStore:
    """The objects below an address; see ``Place`` for the methods."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._answered = 0  # process in which the store has answered
        is_azure = address.scheme == "az"  # some releases of adlfs ignore the mode, and overwrite
        self._exclusive = {"overwrite": False} if is_azure else {"mode": "create"}

    def check(self) -> None:
        """Check that the packages are installed."""
        _file_system_class(self._address)

    def read(self, name: str, start: int, stop: int | None) -> bytes:
        """Return bytes of an object."""
        with self._errors(name):
            try:
                data = self._files().cat_file(self._path(name), start=start or None, end=stop)
            except Exception as error:
                if is_after_end(error):
                    return b""
                raise
        return bytes(data)

    def write_whole(self, name: str, data: bytes) -> None:
        """Replace an object in one request."""
        with self._errors(name), self._writing():
            self._files().pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a new object in one conditional request; return False if there is one."""
        for attempt in range(_ATTEMPTS):
            with self._errors(name), self._writing():
                try:
                    self._files().pipe_file(self._path(name), data, **self._exclusive)
                except FileExistsError:
                    return False
                except Exception as error:
                    if not is_conflict(error):
                        raise
                    if self._files().exists(self._path(name)):
                        return False
                    if attempt == _ATTEMPTS - 1:
                        raise
                    continue
                return True
        return False

    def info(self, name: str) -> Stored | None:
        """Return what a listing says of one object, by one request; None if there is none."""
        with self._errors(name):
            files = self._files()
            try:
                found = files.info(self._path(name))
            except FileNotFoundError:
                self._check_bucket(files)
                return None
        if found["type"] != "file":
            return None
        return Stored(name, int(found["size"]), _version(found))

    def listing(self, prefix: str) -> list[Stored]:
        """Return the objects whose names start with ``prefix``, by as few requests as possible."""
        folder, _, start_of_name = prefix.rpartition("/")
        top = self._path(folder).rstrip("/")
        with self._errors(prefix):
            files = self._files()
            try:
                found = files.find(top, detail=True, prefix=start_of_name)
            except FileNotFoundError:
                found = {}
            if not found:
                self._check_bucket(files)
        start = len(self._address.root) + 1
        objects = (
            Stored(path.lstrip("/")[start:], int(info["size"]), _version(info))
            for path, info in found.items()
            if info["type"] == "file" and not path.endswith("/")
        )
        return sorted(each for each in objects if each.name and each.name.startswith(prefix))

    def _check_bucket(self, files: Any) -> None:
        """Check that the bucket exists: some stores list nothing where it does not."""
        if self._address.scheme == "memory":
            return  # every one exists
        try:
            files.info(self._address.bucket)
        except FileNotFoundError:
            raise missing_bucket(self._address) from None
        except PermissionError:
            return  # to list the objects was allowed

    def fetch(self, files: Mapping[str, Path]) -> None:
        """Copy objects to paths on this machine, many at the same time."""
        parts = {path: unfinished_name(path) for path in files.values()}
        for folder in {path.parent for path in parts}:
            folder.mkdir(parents=True, exist_ok=True)
        with removed_on_error(*parts.values()), self._errors(*files):
            paths = [self._path(name) for name in files]
            self._files().get(paths, list(map(str, parts.values())), batch_size=_IN_FLIGHT)
            for path, part in parts.items():
                part.replace(path)

    def remove(self, name: str) -> None:
        """Remove an object; it may be absent."""
        with self._errors(name), suppress(FileNotFoundError):
            self._files().rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._address.root}/{name}"

    def _files(self) -> Any:
        """Return the file system of fsspec, which must have answered once in this process."""
        make = _file_system_class(self._address)
        try:
            files = make(use_listings_cache=False)
            if self._answered != os.getpid():
                with suppress(FileNotFoundError, PermissionError):  # the request itself says more
                    files.info(self._address.root, timeout=_FIRST_ANSWER)
                self._answered = os.getpid()
        except ValueError as error:
            raise wrong_settings(error, self._address) from error
        return files

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Report that the bucket is missing: an object may be missing when it is written."""
        try:
            yield
        except FileNotFoundError:
            raise missing_bucket(self._address) from None

    @contextmanager
    def _errors(self, *names: str) -> Iterator[None]:
        """Turn the errors of a store into those of tltool."""
        try:
            yield
        except FileNotFoundError as error:
            if is_local(error):
                raise
            if is_missing_bucket(error):
                raise missing_bucket(self._address) from error
            raise missing_object(f"{self._address}/{self._missing(names)}") from error
        except Exception as error:
            problem = store_problem(error, self._address)
            if problem is None:
                raise
            raise problem from error

    def _missing(self, names: tuple[str, ...]) -> str:
        """Return which of some objects is missing: the error of a store does not say it."""
        files = self._files()
        known = (name for name in names[:-1] if not files.exists(self._path(name)))
        return next(known, names[-1])


def _file_system_class(address: Address) -> Callable[..., Any]:
    """Return a class of fsspec.

    Raises:
        EnvironmentProblem: its packages are not installed.
    """
    try:
        import fsspec

        found: Callable[..., Any] = fsspec.get_filesystem_class(address.scheme)
    except ImportError:
        extra = EXTRAS[address.scheme] or "s3"
        raise EnvironmentProblem(
            f"{address} needs packages that are not installed",
            hint=f'pip install "tltool[{extra}]"',
        ) from None
    for library in _LOGGERS:  # what matters is raised, not logged to the terminal
        logging.getLogger(library).addHandler(logging.NullHandler())
    return found


def _version(info: Mapping[str, Any]) -> str:
    # one of them: a listing and a request for one object may give the same time in other digits
    known = next((info[key] for key in _VERSIONS if info.get(key)), "")
    known = known.timestamp() if isinstance(known, datetime) else known
    return f"{info['size']} {known}".replace('"', "").rstrip()
