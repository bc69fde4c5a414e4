"""Reads a tar, possibly compressed, as a stream that trusts no header."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from tltool.data.sources.archives.extraction_target import CHUNK, EXTRACT_HINT, ExtractionTarget
from tltool.errors import DataError


def tar_members(
    path: Path, target: ExtractionTarget
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Yield the files of a tar, and its links without content, in their order.

    Args:
        path: the archive, possibly compressed.
        target: checks the sizes and the number of the members.
    """
    with _decompressed(path) as stream:
        bounded = cast("IO[bytes]", BoundedReader(stream))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for member in archive:
                _check_forward(archive, member)
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                target.announce(member.size)
                if member.issym() or member.islnk():
                    yield member, None
                elif member.isfile():
                    yield member, archive.extractfile(member)
            _check_end(bounded, archive, target)


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


class BoundedReader:
    """A stream with a limit for single reads: tarfile trusts the length in a header."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; raise ``tarfile.ReadError`` if that is a lot."""
        if not 0 <= size <= CHUNK:
            raise tarfile.ReadError("a header is too large")
        return bytes(self._stream.read(size))

    def seek(self, position: int) -> int:
        """Go to a position."""
        return int(self._stream.seek(position))

    def tell(self) -> int:
        """Return the position."""
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
