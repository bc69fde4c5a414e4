"""Extracts a zip or tar archive of images into the cache. Its content is not trusted."""

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

from tltool.data.sources.extraction_target import CHUNK, EXTRACT_HINT, ExtractionTarget
from tltool.data.sources.folder import visible_entries
from tltool.data.sources.listing import listed, split_named
from tltool.data.sources.source_cache import cached_copy, content_key
from tltool.errors import DataError
from tltool.events import Observer

ARCHIVES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2"),
    *(".tar.xz", ".txz", ".tar.zst", ".tzst"),
)
_ZIP_STARTS = (
    b"PK\3\4",
    b"PK\5\6",
    b"PK\7\x08",
)  # not just b"PK": a tar may start with a folder PKLot
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# Windows uses Deflate64 above 2 GB; the others are written by 7-Zip and WinZip.
_UNSUPPORTED_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, tarfile.TarError, struct.error),
    *(RuntimeError, ValueError, OverflowError),
)  # RuntimeError includes RecursionError: a tar with a chain of a thousand headers


def is_archive(path: Path) -> bool:
    """Return whether a file name has the extension of an archive."""
    return path.name.lower().endswith(ARCHIVES)


def extract_archive(path: Path, *, cache: Path, observer: Observer) -> Path:
    """Return a folder with the content of a zip or tar, without its single top-level folder.

    Raises:
        DataError: it is damaged, encrypted, not an archive, a decompression bomb, or contains paths
            outside itself.
        EnvironmentProblem: it cannot be extracted here.
    """

    def make(folder: Path) -> None:
        observer.on_message(f"extracting {path} to {cache}")
        _extract(path, ExtractionTarget(path, folder), observer)

    return _without_top_folder(cached_copy(cache, path.name, content_key(path), make))


def _extract(path: Path, target: ExtractionTarget, observer: Observer) -> None:
    try:
        with path.open("rb") as file:
            if file.read(4) in _ZIP_STARTS:
                _extract_zip(file, target, observer)
            else:
                _extract_tar(path, target, observer)
    except NotImplementedError as error:  # a subclass of RuntimeError
        raise DataError(
            f"{path} uses a compression method that Python does not support ({error})",
            hint=EXTRACT_HINT,
        ) from None
    except (*_DAMAGED, OSError) as error:
        # OSErrors of the decompressors have no number; EINVAL is a seek to before the file
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{path} is not a zip or tar archive, or it is damaged ({reason})",
            hint="create it again, or give a folder",
        ) from None


def _extract_zip(file: IO[bytes], target: ExtractionTarget, observer: Observer) -> None:
    """Extract a zip (PKWARE's APPNOTE.TXT)."""
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        _reject_encrypted(target.archive, members)
        _reject_unsupported_methods(target.archive, members)
        for member in members:
            target.announce(member.file_size)
        for done, member in enumerate(members, start=1):
            with archive.open(member) as source:
                # some Windows programs write backslashes
                target.write(member.filename.replace("\\", "/"), source)
            observer.on_progress(done, len(members), unit="files")


def _reject_encrypted(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    encrypted = [member.filename for member in members if member.flag_bits & 1]
    if encrypted:
        raise DataError(
            f"{path} is encrypted: {len(encrypted)} files ({listed(encrypted, 3)})",
            hint="extract it with its password and give the folder",
        )


def _reject_unsupported_methods(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    unsupported: dict[int, list[str]] = defaultdict(list)
    for member in members:
        if member.compress_type not in _ZIP_METHODS:
            unsupported[member.compress_type].append(member.filename)
    for method, names in unsupported.items():
        named = _UNSUPPORTED_METHODS.get(method, f"method {method}")
        raise DataError(
            f"{path} is compressed with {named}, which Python does not support:"
            f" {len(names)} files ({listed(names, 3)})",
            hint=EXTRACT_HINT,
        )


def _extract_tar(path: Path, target: ExtractionTarget, observer: Observer) -> None:
    links: list[tarfile.TarInfo] = []
    with _decompressed(path) as stream:
        bounded = cast("IO[bytes]", _BoundedReader(stream))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for member in archive:
                _check_forward(archive, member)
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                target.announce(member.size)
                if member.issym() or member.islnk():
                    links.append(member)
                elif member.isfile():
                    source = archive.extractfile(member)
                    assert source is not None
                    target.write(member.name, source)
            _check_end(bounded, archive, target)
    _write_links(links, target, observer)


def _check_forward(archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Reject a negative size, with which tarfile would read the same member in an endless loop."""
    if member.size < 0 or archive.offset < member.offset_data:
        raise tarfile.ReadError("a member has a negative size")


def _check_end(stream: IO[bytes], archive: tarfile.TarFile, target: ExtractionTarget) -> None:
    """Reject a truncated archive: tarfile accepts a broken header as the end.

    The rest is read too, because the checksum of a compressed stream is at its end.
    """
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("truncated")
    while rest := stream.read(CHUNK):
        target.announce(len(rest))


def _write_links(
    links: Sequence[tarfile.TarInfo], target: ExtractionTarget, observer: Observer
) -> None:
    """Write linked files under their second names. No symbolic link is ever created."""
    skipped = 0
    for link in links:
        existing = link.linkname
        if link.issym():
            existing = posixpath.normpath(posixpath.join(posixpath.dirname(link.name), existing))
        skipped += not target.link(link.name, existing)
    if skipped:
        observer.on_message(
            f"{skipped} links in {target.archive} to folders or missing files are skipped"
        )


class _BoundedReader:
    """A stream with a limit for single reads: tarfile trusts the length in a header."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if not 0 <= size <= CHUNK:
            raise tarfile.ReadError("a header is too large")
        return bytes(self._stream.read(size))

    def seek(self, position: int) -> int:
        return int(self._stream.seek(position))

    def tell(self) -> int:
        return int(self._stream.tell())


def _decompressed(path: Path) -> Any:
    """Return the decompressed tar as a stream; the first bytes identify the compression."""
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
            f"{path} is compressed with Zstandard, which this Python does not support",
            hint=f"{EXTRACT_HINT}: tar --zstd -xf {path}",
        )
    return path.open("rb")


def _without_top_folder(folder: Path) -> Path:
    """Return the folder of the class folders: ``photos`` of photos.zip/photos/cat."""
    while True:
        entries = visible_entries(folder)
        if len(entries) != 1 or not entries[0].is_folder or split_named(entries[0].path.name):
            return folder
        inside = visible_entries(entries[0].path)
        if not any(entry.is_folder for entry in inside):
            return folder
        folder = entries[0].path
