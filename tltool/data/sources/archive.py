"""A zip or tar of images, unpacked once into the cache. Nothing inside it is trusted."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from tltool.data.sources.folder import visible_entries
from tltool.data.sources.listing import listed, split_named
from tltool.data.sources.source_cache import content_key, kept
from tltool.data.sources.unpack_target import CHUNK, UNPACK_HINT, Target
from tltool.errors import DataError
from tltool.events import Observer

ARCHIVES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2"),
    *(".tar.xz", ".txz", ".tar.zst", ".tzst"),
)
_ZIP_STARTS = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")  # a tar may begin with a folder PKLot
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# Windows packs more than 2 GB by Deflate64; the others are those of 7-Zip and WinZip.
_UNKNOWN_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, tarfile.TarError, struct.error),
    *(RuntimeError, ValueError, OverflowError),
)  # RuntimeError holds RecursionError: a tar of a thousand headers in a chain


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
        _unpack(path, Target(path, folder), observer)

    return _unwrapped(kept(cache, path.name, content_key(path), make))


def _unpack(path: Path, target: Target, observer: Observer) -> None:
    try:
        with path.open("rb") as file:
            if file.read(4) in _ZIP_STARTS:
                _unpack_zip(file, target, observer)
            else:
                _unpack_tar(path, target, observer)
    except NotImplementedError as error:  # it is a RuntimeError too
        raise DataError(
            f"{path} is packed in a way that Python does not know ({error})", hint=UNPACK_HINT
        ) from None
    except (*_DAMAGED, OSError) as error:
        # the decompressors' own OSErrors have no number; EINVAL is a jump to before the file
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        told = str(error) or type(error).__name__
        raise DataError(
            f"{path} is no zip or tar archive, or it is damaged ({told})",
            hint="make it again, or give a folder",
        ) from None


def _unpack_zip(file: IO[bytes], target: Target, observer: Observer) -> None:
    """Unpack an archive of PKWARE's APPNOTE.TXT."""
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        _refuse_encrypted(target.archive, members)
        _refuse_unknown_methods(target.archive, members)
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


def _refuse_unknown_methods(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    unknown: dict[int, list[str]] = defaultdict(list)
    for member in members:
        if member.compress_type not in _ZIP_METHODS:
            unknown[member.compress_type].append(member.filename)
    for method, names in unknown.items():
        told = _UNKNOWN_METHODS.get(method, f"method {method}")
        raise DataError(
            f"{path} is packed by {told}, which Python does not know:"
            f" {len(names)} files ({listed(names, 3)})",
            hint=UNPACK_HINT,
        )


def _unpack_tar(path: Path, target: Target, observer: Observer) -> None:
    links: list[tarfile.TarInfo] = []
    with _decompressed(path) as stream:
        bounded = cast("IO[bytes]", _Bounded(stream))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for member in archive:
                _check_forward(archive, member)
                archive.members = []  # type: ignore[attr-defined]  # it would keep every header
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


def _check_end(stream: IO[bytes], archive: tarfile.TarFile, target: Target) -> None:
    """Refuse an archive that breaks off: tarfile takes broken headers for the end.

    What follows is read too, since the checksum of a compressed stream stands at its end.
    """
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off")
    while rest := stream.read(CHUNK):
        target.announce(len(rest))


def _follow_links(links: Sequence[tarfile.TarInfo], target: Target, observer: Observer) -> None:
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
        if not 0 <= size <= CHUNK:
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
            hint=f"{UNPACK_HINT}: tar --zstd -xf {path}",
        )
    return path.open("rb")


def _unwrapped(folder: Path) -> Path:
    """Return the folder inside ``folder`` where the images begin, as in photos.zip/photos/cat."""
    while True:
        entries = visible_entries(folder)
        if len(entries) != 1 or not entries[0].is_folder or split_named(entries[0].path.name):
            return folder
        inside = visible_entries(entries[0].path)
        if not any(entry.is_folder for entry in inside):
            return folder
        folder = entries[0].path
