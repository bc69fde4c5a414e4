"""Addresses of folders and object stores, and texts that show them without secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from tltool.errors import UsageError

EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure", "memory": ""}
"""Object stores: scheme of their addresses to the extra of tltool that they need."""

_OTHER_SPELLINGS = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PASSWORD = r"[^/\s'\":@]*:(?!\d+/)[^\s'\"]*@"  # it may have a slash in it
_LOGIN = re.compile(rf"(?<=://)(?:{_PASSWORD}|[^/\s'\"]*@)")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*=[^\s'\"]*")
_FORMS = "addresses are s3://BUCKET/FOLDER, gs://BUCKET/FOLDER and az://CONTAINER/FOLDER"
_LONGEST_NAME = 255  # bytes of a part of a path, on most file systems
_NOT_ON_WINDOWS = re.compile(
    r'.*[<>:"|?*\x00-\x1f].*|.*[. ]|(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\..*)?',
    re.IGNORECASE | re.DOTALL,
)


class Stored(NamedTuple):
    """An object of a store, or a file of a folder.

    Attributes:
        name: relative to the place, with slashes.
        size: bytes.
        version: changes whenever the content does: the ETag of a store, else size and time.
    """

    name: str
    size: int
    version: str


@dataclass(frozen=True)
class Address:
    """Where a place is.

    Attributes:
        scheme: ``file`` for a folder, else of ``EXTRAS``.
        bucket: name of the bucket or container; empty for a folder.
        path: a folder, or the start of the names in the bucket, without slashes at its ends.
    """

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        return f"{self.scheme}://{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def root(self) -> str:
        """Bucket and path, as fsspec names an object."""
        return f"{self.bucket}/{self.path}" if self.path else self.bucket


def is_object_store(text: str) -> bool:
    """Return whether a text is the address of an object store.

    Examples:
        >>> is_object_store("s3://bucket/photos"), is_object_store("photos")
        (True, False)
    """
    match = _SCHEME.match(text)
    return match is not None and _scheme(match[1]) in EXTRAS


def parse_address(url: str | Path) -> Address:
    """Return the parts of an address, or of the path of a folder.

    Raises:
        UsageError: the scheme is unknown, the bucket is missing, or the address has a secret in it.

    Examples:
        >>> parse_address("s3://bucket/photos/")
        Address(scheme='s3', bucket='bucket', path='photos')
    """
    text = str(url)
    match = _SCHEME.match(text)
    if match is None:
        return Address("file", "", str(Path(text).absolute()))
    scheme = _scheme(match[1])
    if scheme not in EXTRAS and scheme != "file":
        raise UsageError(
            f"{redacted(text)}: storage of the kind '{match[1]}://' is not supported",
            hint=_FORMS,
        )
    rest = text[match.end() :]
    _reject_secrets(text, rest.partition("/")[0] if scheme != "file" else "")
    if scheme == "file":
        return Address("file", "", str(Path(unquote(rest.removeprefix("localhost"))).absolute()))
    bucket, _, path = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{text} has no valid name of a bucket", hint=_FORMS)
    return Address(scheme, bucket, path.strip("/"))


def _scheme(text: str) -> str:
    return _OTHER_SPELLINGS.get(text.lower(), text.lower())


def _reject_secrets(text: str, bucket: str) -> None:
    """Reject a password or a signature: the address is written to logs and manifests."""
    # a password with a slash in it ends the bucket too soon: nothing of it is shown
    has_login = not {":", "@"}.isdisjoint(bucket)
    shown = f"{text.partition('://')[0]}://…" if has_login else redacted(text)
    if has_login or shown != text:
        raise UsageError(
            f"the address {shown} has a user name, a password or a signature in it",
            hint="leave it out; credentials are read from the environment or from the"
            " configuration files of the store",
        )


def redacted(text: str) -> str:
    """Return a text without the user names, passwords and signatures of addresses in it.

    Examples:
        >>> redacted("https://me:secret@host/a.jpg?sig=1")
        'https://…@host/a.jpg?…'
    """
    return _QUERY.sub(r"\1?…", _LOGIN.sub("…@", text))


def address_of_copy(path: Path, copies: Iterable[tuple[Path, str]]) -> str | None:
    """Return the address of the object of which a file is a copy; None for any other file.

    Args:
        path: the file.
        copies: folders of copies to the address of their objects; the first that fits counts.

    Examples:
        >>> address_of_copy(Path("/cache/x/1.jpg"), [(Path("/cache/x"), "s3://bucket")])
        's3://bucket/1.jpg'
    """
    for folder, address in copies:
        if path.is_relative_to(folder):
            return f"{address}/{path.relative_to(folder).as_posix()}"
    return None


def is_file_name(name: str) -> bool:
    """Return whether the name of an object can be the path of a file inside a folder.

    Examples:
        >>> is_file_name("cat/1.jpg"), is_file_name("../1.jpg")
        (True, False)
    """
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or "\\" in name or "\0" in name:
        return False
    if os.name == "nt" and any(map(_NOT_ON_WINDOWS.fullmatch, parts)):
        return False
    return all(len(part.encode(errors="surrogateescape")) <= _LONGEST_NAME for part in parts)
