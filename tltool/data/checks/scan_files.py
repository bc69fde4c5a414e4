"""One pass over all files: Python reads headers while a TensorFlow pipeline decodes pixels.

Decoding file by file from Python has more overhead than the decoding itself. So a pipeline decodes
JPEG with the operation used in training, while Python reads headers and computes digests; then the
other formats are decoded. Files that the pipeline cannot decode are inspected one by one, to find
the reason.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.data.audit.file_warnings import FileWarning, file_warnings
from tltool.data.audit.inspect_file import as_bad_file_error, image_decoder, inspect_file, read_file
from tltool.data.audit.jpeg_damage import WarnedBatches, find_damage
from tltool.data.catalog import Item
from tltool.data.checks.file_findings import (
    bad_file_finding,
    unusual_file_findings,
    warning_finding,
)
from tltool.data.checks.file_properties import colours_of, features_of
from tltool.data.checks.scan_pipeline import (
    CHUNK,
    FROM_HEADER,
    Decode,
    FilePaths,
    decode_for_scan,
    scan_pipeline,
)
from tltool.data.checks.scan_state import Scan, ScanState
from tltool.data.decoding import transcode
from tltool.data.decoding.bounded_work import check_size, without_unused_parts
from tltool.data.decoding.decode_jpeg import decode_thumbnail
from tltool.data.decoding.header import Header
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.decoding.image_formats import decode_stored
from tltool.data.decoding.native_messages import JpegWarnings
from tltool.data.duplicates import perceptual_hash
from tltool.data.item_columns import ItemColumns
from tltool.events import Observer, SilentObserver

_OTHERS_AT_ONCE = 8192  # what is known of an opened file takes a kilobyte


class _Opened(NamedTuple):
    header: Header
    sha256: str
    size: int


def scan_files(items: ItemColumns, *, max_pixels: int, image_size: int, observer: Observer) -> Scan:
    """Open and fully decode every file once.

    Args:
        items: the files; the facts of each are added when it has been audited.
        max_pixels: larger images are bad; they are not decoded.
        image_size: side in pixels of the model's input.
        observer: receives the progress.
    """
    state = ScanState(items)
    _scan(state, max_pixels, image_size, observer)
    return state.result()


def scan_part(paths: Sequence[str], *, max_pixels: int, image_size: int) -> dict[str, Any]:
    """Scan some files for another process, as ``scan_files``.

    Args:
        paths: the files.
        max_pixels: larger images are bad; they are not decoded.
        image_size: side in pixels of the model's input.

    Returns:
        a part for ``ScanState.add_part``, JSON-ready.
    """
    state = ScanState(ItemColumns(Item(Path(path), "") for path in paths))
    _scan(state, max_pixels, image_size, SilentObserver())
    return state.to_json()


def _scan(state: ScanState, max_pixels: int, image_size: int, observer: Observer) -> None:
    scanner, total = _Scanner(state, max_pixels, image_size), len(state.items)
    done = 0
    for chunks, decode in scanner.passes():
        with JpegWarnings() as warnings:
            warned = WarnedBatches()
            for batch in scan_pipeline(chunks, decode):
                indices, *decoded = (part.numpy() for part in batch)
                scanner.take(indices, *decoded)
                warned.add(indices.tolist(), warned=bool(warnings.take()))
                done += len(indices)
                observer.on_progress(done, total)
            for index in warned.indices():
                scanner.find_damage(index, warnings)
    for index in state.remaining():
        scanner.inspect_one(index)
        done += 1
        observer.on_progress(done, total)


class _Scanner:
    """Opens files, then decodes them."""

    def __init__(self, state: ScanState, max_pixels: int, image_size: int) -> None:
        self._state, self._items = state, state.items
        self._max_pixels, self._image_size = max_pixels, image_size
        self._opened: dict[int, _Opened] = {}
        self._next = 0  # the first file that was not opened
        self._others: list[int] = []  # opened files that are not JPEG files

    def passes(self) -> Iterator[tuple[Iterator[FilePaths], Decode]]:
        """Yield files and their decoder: JPEG files, then others, until none is left."""
        while self._next < len(self._items):
            yield self._jpegs(), decode_for_scan
            others, self._others = self._others, []
            if others:  # tracing the decoder of all formats takes a second
                starts = range(0, len(others), CHUNK)
                yield (self._chunk(others[at : at + CHUNK]) for at in starts), decode_stored

    def _jpegs(self) -> Iterator[FilePaths]:
        """Open files and yield the JPEG files in chunks, until many others are open."""
        while self._next < len(self._items) and len(self._others) < _OTHERS_AT_ONCE:
            chunk = range(self._next, min(self._next + CHUNK, len(self._items)))
            formats = {index: self._open(index) for index in chunk}
            self._next = chunk.stop
            self._others += [i for i, kind in formats.items() if kind not in (None, "jpeg")]
            yield self._chunk([index for index, kind in formats.items() if kind == "jpeg"])

    def _chunk(self, indices: list[int]) -> FilePaths:
        paths = [os.fsencode(self._items[index].path) for index in indices]
        return np.array(indices, np.int64), paths

    def _open(self, index: int) -> str | None:
        """Read header and digest; return the format if the pipeline can decode it."""
        path = self._items[index].path
        try:
            with as_bad_file_error():
                header, data = read_file(path, self._max_pixels)
                check_size(data, name="the file", max_pixels=self._max_pixels)
        except BadFileError as problem:
            self._state.add_finding(index, bad_file_finding(path, problem))
            return None
        if not transcode.decodes_as_stored(data) or without_unused_parts(data) is not data:
            return None
        digest = hashlib.sha256(data).hexdigest()
        self._opened[index] = _Opened(header, digest, len(data))
        return header.format

    def take(
        self,
        indices: NDArray[np.int64],
        shapes: NDArray[np.int32],
        orientations: NDArray[np.int64],
        thumbnails: NDArray[np.float32],
        levels: NDArray[np.uint8],
    ) -> None:
        """Process a batch of the pipeline."""
        opened = [self._opened.pop(index) for index in indices.tolist()]
        applied = [
            file.header.orientation if decoded == FROM_HEADER else decoded
            for file, decoded in zip(opened, orientations.tolist(), strict=True)
        ]
        for number, orientation in enumerate(applied):
            thumbnails[number] = _upright(thumbnails[number], orientation)
        hashes = perceptual_hash.perceptual_hashes(thumbnails)
        colours = colours_of(thumbnails)
        for number, index in enumerate(indices.tolist()):
            header, digest, size = opened[number]
            height, width, _ = shapes[number].tolist()
            if applied[number] >= 5:
                height, width = width, height
            item = replace(
                self._items[index],
                sha256=digest,
                width=width,
                height=height,
                format=header.format,
                orientation=applied[number],
                perceptual_hash=hashes[number],
            )
            darkest, brightest = levels[number].tolist()
            warned = file_warnings(item.path, header, (darkest, brightest), thumbnails[number])
            self._keep(index, item, header, warned, size, colours[number])

    def find_damage(self, index: int, warnings: JpegWarnings) -> None:
        """Add a finding if a JPEG is damaged inside."""
        item = self._items[index]
        damage = find_damage(item.path, decode_thumbnail, warnings)
        if damage is not None:
            self._state.add_finding(index, warning_finding(item.path, damage))

    def inspect_one(self, index: int) -> None:
        """Inspect one file, which gives the reason if it cannot be decoded."""
        item = self._items[index]
        try:
            inspected = inspect_file(item, max_pixels=self._max_pixels, decode=image_decoder())
        except BadFileError as problem:
            self._state.add_finding(index, bad_file_finding(item.path, problem))
            return
        colours = colours_of(inspected.decoded.thumbnail[np.newaxis])[0]
        self._keep(
            index, inspected.item, inspected.header, inspected.warnings, inspected.size, colours
        )

    def _keep(
        self,
        index: int,
        item: Item,
        header: Header,
        warnings: Sequence[FileWarning],
        size: int,
        colours: NDArray[np.float32],
    ) -> None:
        features = features_of(
            width=item.width,
            height=item.height,
            size=size,
            quality=header.quality,
            colours=colours,
        )
        camera = header.camera or ""
        self._state.keep(index, item, features=features, camera=camera, size=size)
        for finding in unusual_file_findings(item, header, warnings, image_size=self._image_size):
            self._state.add_finding(index, finding)


def _upright(thumbnail: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Apply an EXIF orientation, as ``tltool.data.decoding.exif.turn_upright`` does."""
    if orientation >= 5:
        thumbnail = thumbnail.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        thumbnail = thumbnail[::-1]
    return thumbnail[:, ::-1] if orientation in (2, 3, 6, 7) else thumbnail
