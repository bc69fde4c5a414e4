"""A zip or tar of photos, unpacked once into the cache. Nothing inside it is trusted."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, cast

from tltool.data.sources.folder import visible_entries
from tltool.data.sources.listing import listed, split_named
from tltool.data.sources.store import content_key, kept
from tltool.errors import DataError
from tltool.events import Observer

ARCHIVES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2"),
    *(".tar.xz", ".txz", ".tar.zst", ".tzst"),
)
_CHUNK = 1 << 16  # also the most that a header inside a tar may ask for
_ALWAYS_ALLOWED = 1 << 28  # bytes; below that no ratio is suspicious
_MOST_RATIO = 100  # photos hardly shrink; flat drawings stored as BMP reach 50
_MOST_MEMBERS = 5_000_000
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, tarfile.TarError, struct.error),
    *(RuntimeError, ValueError, OverflowError),
)  # RuntimeError holds RecursionError: a tar of a thousand headers in a chain
_BAD_NAMES = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}
_UNPACK_HINT = "unpack it yourself and give the folder"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def is_archive(path: Path) -> bool:
    """Tell whether a file is called like an archive."""
    return path.name.lower().endswith(ARCHIVES)


def unpacked(path: Path, *, cache: Path, observer: Observer) -> Path:
    """Return a folder with what a zip or tar holds, without the folder around everything.

    Raises:
        DataError: it is damaged, encrypted, no archive, far larger inside than outside, or names
            files outside itself.
        EnvironmentProblem: it cannot be unpacked here.
    """

    def make(folder: Path) -> None:
        observer.on_message(f"unpacking {path} into {cache}")
        _unpack(path, _Target(path, folder), observer)

    return _unwrapped(kept(cache, path.name, content_key(path), make))


def _unpack(path: Path, target: _Target, observer: Observer) -> None:
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                _unpack_zip(file, target, observer)
            else:
                _unpack_tar(path, target, observer)
    except (*_DAMAGED, OSError) as error:
        # the decompressors' own OSErrors have no number; EINVAL is a jump to before the file
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        told = str(error) or type(error).__name__
        raise DataError(
            f"{path} is no zip or tar archive, or it is damaged ({told})",
            hint="make it again, or give a folder",
        ) from None


class _Target:
    """The folder that an archive is unpacked into: names, sizes and counts are checked."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self._folder = archive, folder
        self._most = max(_ALWAYS_ALLOWED, _MOST_RATIO * archive.stat().st_size)
        self._written = 0
        self._announced = 0
        self._members = 0

    def announce(self, size: int) -> None:
        """Refuse a member that makes the whole larger than it may be, before it is read."""
        self._announced += size
        self._members += 1
        self._check(self._announced)
        if self._members > _MOST_MEMBERS:
            raise DataError(f"{self.archive} holds more than {_MOST_MEMBERS:,} files")

    def write(self, name: str, source: _Readable) -> None:
        """Write one file.

        Raises:
            DataError: its name leads elsewhere or cannot be written, or there is too much of it.
        """
        place = self.place(name)
        with self._names_checked(name):
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                while chunk := source.read(_CHUNK):
                    self._written += len(chunk)
                    self._check(self._written)
                    file.write(chunk)

    def link(self, name: str, other: str) -> bool:
        """Give an unpacked file a second name; return whether there is such a file."""
        place, existing = self.place(name), self.place(other)
        with self._names_checked(name):
            if not existing.is_file():
                return False
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            os.link(existing, place)
        return True

    def place(self, name: str) -> Path:
        """Return where a member goes.

        Raises:
            DataError: that is outside the folder.
        """
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or "\0" in name:
            raise DataError(
                f"{self.archive} names a file outside itself: {name!r}",
                hint="it may be meant to harm; do not unpack it",
            )
        return self._folder.joinpath(*parts)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise DataError(
                f"{self.archive} holds more than {self._most / 2**20:,.0f} MB,"
                f" over {_MOST_RATIO} times its own size: it may be a decompression bomb",
                hint=f"if you trust it, {_UNPACK_HINT}",
            )

    @contextmanager
    def _names_checked(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeEncodeError) as error:
            if isinstance(error, OSError) and error.errno not in _BAD_NAMES:
                raise
            raise DataError(
                f"{self.archive} holds a name that cannot be written: {name[:80]!r}",
                hint=_UNPACK_HINT,
            ) from None


def _unpack_zip(file: IO[bytes], target: _Target, observer: Observer) -> None:
    """Unpack an archive of PKWARE's APPNOTE.TXT."""
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        _refuse_encrypted(target.archive, members)
        for member in members:
            target.announce(member.file_size)
        for done, member in enumerate(members, start=1):
            with archive.open(member) as source:
                # some packers of Windows write backslashes
                target.write(member.filename.replace("\\", "/"), source)
            observer.on_progress(done, len(members), unit="files")


def _refuse_encrypted(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    secret = [member.filename for member in members if member.flag_bits & 1]
    if secret:
        raise DataError(
            f"{path} is encrypted: {len(secret)} files ({listed(secret, 3)})",
            hint="unpack it with its password and give the folder",
        )


def _unpack_tar(path: Path, target: _Target, observer: Observer) -> None:
    links: list[tarfile.TarInfo] = []
    with _decompressed(path) as stream:
        bounded = cast("IO[bytes]", _Bounded(stream))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for member in archive:
                _check_forward(archive, member)
                target.announce(member.size)
                if member.issym() or member.islnk():
                    links.append(member)
                elif member.isfile():
                    source = archive.extractfile(member)
                    assert source is not None
                    target.write(member.name, source)
            _check_end(bounded, archive, target)
    _follow_links(links, target, observer)


def _check_forward(archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Refuse a negative size, after which tarfile would read the same member for ever."""
    if member.size < 0 or archive.offset < member.offset_data:
        raise tarfile.ReadError("a member has a negative size")


def _check_end(stream: IO[bytes], archive: tarfile.TarFile, target: _Target) -> None:
    """Refuse an archive that breaks off: tarfile takes broken headers for the end.

    What follows is read too, since the checksum of a compressed stream stands at its end.
    """
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off")
    while rest := stream.read(_CHUNK):
        target.announce(len(rest))


def _follow_links(links: Sequence[tarfile.TarInfo], target: _Target, observer: Observer) -> None:
    """Give linked files their second names. No link is ever written to disk as a link."""
    left_out = 0
    for link in links:
        other = link.linkname
        if link.issym():
            other = posixpath.normpath(posixpath.join(posixpath.dirname(link.name), other))
        left_out += not target.link(link.name, other)
    if left_out:
        observer.on_message(
            f"{left_out} links in {target.archive} lead to folders or to nothing and are left out"
        )


class _Bounded:
    """A stream of which no single read may be large: tarfile reads headers as long as they say."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise tarfile.ReadError("a header of absurd size")
        return bytes(self._stream.read(size))

    def seek(self, position: int) -> int:
        return int(self._stream.seek(position))

    def tell(self) -> int:
        return int(self._stream.tell())


def _decompressed(path: Path) -> Any:
    """Return the tar inside as a stream; what it is compressed with is seen in its first bytes."""
    with path.open("rb") as file:
        start = file.read(6)
    if start[:2] == b"\x1f\x8b":
        return gzip.open(path)
    if start[:3] == b"BZh":
        return bz2.open(path)
    if start == b"\xfd7zXZ\0":
        return lzma.open(path)
    if start[:4] == b"\x28\xb5\x2f\xfd":
        raise DataError(
            f"{path} is compressed with Zstandard, which this Python does not know",
            hint=f"{_UNPACK_HINT}: tar --zstd -xf {path}",
        )
    return path.open("rb")


def _unwrapped(folder: Path) -> Path:
    """Return the folder inside ``folder`` where the photos begin, as in photos.zip/photos/cat."""
    while True:
        entries = visible_entries(folder)
        if len(entries) != 1 or not entries[0].is_dir() or split_named(entries[0].name):
            return folder
        inside = visible_entries(entries[0])
        if not any(entry.is_dir() for entry in inside):
            return folder
        folder = entries[0]
