"""Extracts a zip or tar archive of images into the cache. Its content is not trusted."""

from __future__ import annotations

import errno
import json
import lzma
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from tltool.data.sources.archives.archive_names import (
    DecodedNames,
    decode_folder_names,
    decode_names,
)
from tltool.data.sources.archives.extraction_target import CHUNK, EXTRACT_HINT, ExtractionTarget
from tltool.data.sources.archives.tar_stream import tar_members
from tltool.data.sources.folders.folder_names import part_named
from tltool.data.sources.folders.folder_tree import visible_entries
from tltool.data.sources.listing import listed
from tltool.data.sources.source_cache import cached_copy, content_key
from tltool.errors import DataError, counted, one_line
from tltool.events import Observer

ARCHIVES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2"),
    *(".tar.xz", ".txz", ".tar.zst", ".tzst"),
)
_FORMAT = "2:"  # of the copies in the cache; another one if the same archive is extracted otherwise
_NOTES = "notes.json"
_DOS_FOLDER = 0x10
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
        target = ExtractionTarget(path, folder)
        _extract(path, target, observer)
        notes = [*target.notes, *_same_names(target), *_guessed(decode_folder_names(folder))]
        (folder.parent / _NOTES).write_text(json.dumps(notes), encoding="utf-8")

    copy = cached_copy(cache, path.name, f"{_FORMAT}{content_key(path)}", make)
    with suppress(OSError, ValueError):  # they matter in every run, not only in the first one
        for note in json.loads((copy.parent / _NOTES).read_text(encoding="utf-8")):
            observer.on_message(f"{path}: {note}", level="warning")
    return _without_top_folder(copy)


def _guessed(decoded: DecodedNames | None) -> Iterator[str]:
    """Yield a sentence if the encoding of names was guessed."""
    if decoded is not None and decoded.encoding is not None:
        yield (
            f"the encoding of the file names is not known; they are read as {decoded.encoding}, for"
            f" example {one_line(decoded.example)!r}; if that is wrong, {EXTRACT_HINT}"
        )


def _same_names(target: ExtractionTarget) -> Iterator[str]:
    """Yield a sentence if there are different files of the same name."""
    if target.renamed:
        count = counted(len(target.renamed), "file has", "files have")
        yield (
            f"{count} the same name as another one with other content; all are kept, for"
            f" example as {one_line(target.renamed[0])!r}"
        )


def _extract(path: Path, target: ExtractionTarget, observer: Observer) -> None:
    with damage_as_data_error(path):
        with path.open("rb") as file:
            if file.read(4) in _ZIP_STARTS:
                _extract_zip(file, target, observer)
                return
        _extract_tar(path, target)


@contextmanager
def damage_as_data_error(path: Path) -> Iterator[None]:
    """Convert the errors of a damaged or unsupported archive.

    Raises:
        DataError: as it says; errors of the disk are raised unchanged.
    """
    try:
        yield
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
        decoded = decode_names(archive.infolist())
        named = zip(archive.infolist(), decoded.names, strict=True)
        members = [(member, name) for member, name in named if not _is_zip_folder(member, name)]
        _reject_encrypted(target.archive, [member for member, _ in members])
        _reject_unsupported_methods(target.archive, [member for member, _ in members])
        for member, _ in members:
            target.announce(member.file_size)
        links: list[_Link] = []
        for done, (member, name) in enumerate(members, start=1):
            with archive.open(member) as source:
                if stat.S_ISLNK(member.external_attr >> 16):
                    links.append(_Link(name, os.fsdecode(source.read(CHUNK)), symbolic=True))
                else:
                    target.write(name, source)
            observer.on_progress(done, len(members), unit="files")
    _write_links(links, target)
    target.notes += _guessed(decoded)


def _is_zip_folder(member: zipfile.ZipInfo, name: str) -> bool:
    marked = member.file_size == 0 and bool(member.external_attr & _DOS_FOLDER)
    return marked or name.endswith("/")


def _reject_encrypted(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    encrypted = [member.filename for member in members if member.flag_bits & 1]
    if encrypted:
        count = counted(len(encrypted), "file", "files")
        raise DataError(
            f"{path} is encrypted: {count} ({listed(encrypted, 3)})",
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
            f" {counted(len(names), 'file', 'files')} ({listed(names, 3)})",
            hint=EXTRACT_HINT,
        )


def _extract_tar(path: Path, target: ExtractionTarget) -> None:
    links: list[_Link] = []
    for member, source in tar_members(path, target):
        if source is None:
            links.append(_Link(member.name, member.linkname, symbolic=member.issym()))
        else:
            target.write(member.name, source)
    _write_links(links, target)


class _Link(NamedTuple):
    """A link of an archive; the target of a symbolic one is relative to its folder."""

    name: str
    target: str
    symbolic: bool

    def existing(self) -> str:
        """Return the name of the file that it leads to."""
        if not self.symbolic:
            return self.target
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.name), self.target))


def _write_links(links: Sequence[_Link], target: ExtractionTarget) -> None:
    """Write linked files under their second names. No symbolic link is ever created."""
    waiting = list(links)
    while waiting:  # a link may lead to another one that comes later
        missing = [link for link in waiting if not target.link(link.name, link.existing())]
        if len(missing) == len(waiting):
            break
        waiting = missing
    if waiting:
        target.notes.append(f"{len(waiting)} links to folders or missing files are skipped")


def _without_top_folder(folder: Path) -> Path:
    """Return the folder of the class folders: ``photos`` of photos.zip/photos/cat."""
    while True:
        entries = visible_entries(folder)
        if len(entries) != 1 or not entries[0].is_folder or part_named(entries[0].path.name):
            return folder
        inside = visible_entries(entries[0].path)
        if not any(entry.is_folder for entry in inside):
            return folder
        folder = entries[0].path
