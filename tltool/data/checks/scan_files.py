"""One pass over all files: Python reads headers while a TensorFlow pipeline decodes pixels.

Decoding file by file from Python has more overhead than the decoding itself. So a pipeline decodes
JPEG with the operation used in training, while Python reads headers and computes digests; then the
other formats are decoded. Files that the pipeline cannot decode are inspected one by one, to find
the reason.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.data.audit.inspect_file import as_bad_file_error, image_decoder, inspect_file, read_file
from tltool.data.catalog import Item
from tltool.data.checks.file_findings import bad_file_finding, unusual_file_findings
from tltool.data.checks.file_properties import FEATURES, colours_of, features_of
from tltool.data.checks.findings import Finding
from tltool.data.decoding import transcode
from tltool.data.decoding.graph_tracing import without_autograph
from tltool.data.decoding.header import BadFileError, Header
from tltool.data.decoding.image_formats import decode_stored
from tltool.data.decoding.jpeg import decode_jpeg
from tltool.data.duplicates import perceptual_hash
from tltool.data.pipeline import fixed_options
from tltool.events import Observer

_CHUNK = 128


@dataclass
class Scan:
    """The result of a scan.

    Attributes:
        items: the usable ones, audited, in the order of the source.
        features: float32 [N, len(FEATURES)], a row for each of ``items``.
        cameras: make and model for each of ``items``, ``""`` if unknown.
        findings: about single files.
        bytes: size of all usable files.
    """

    items: list[Item]
    features: NDArray[np.float32]
    cameras: list[str]
    findings: list[Finding]
    bytes: int


_Chunk = tuple[NDArray[np.int64], list[bytes]]
"""Positions of files and their paths."""
_Decode = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
_FROM_HEADER = 0


class _Opened(NamedTuple):
    header: Header
    sha256: str
    size: int


def scan_files(
    items: Sequence[Item], *, max_pixels: int, image_size: int, observer: Observer
) -> Scan:
    """Open and fully decode every file once.

    Args:
        items: the files.
        max_pixels: larger images are bad; they are not decoded.
        image_size: side in pixels of the model's input.
        observer: receives the progress.
    """
    state = _Scanner(items, max_pixels, image_size)
    done = 0
    for chunks, decode in state.passes():
        for batch in _pipeline(chunks, decode):
            indices, *decoded = (part.numpy() for part in batch)
            state.take(indices, *decoded)
            done += len(indices)
            observer.on_progress(done, len(items))
    for index in state.remaining():
        state.inspect_one(index)
        done += 1
        observer.on_progress(done, len(items))
    return state.result()


class _Scanner:
    """The state of a scan: files are opened, then decoded."""

    def __init__(self, items: Sequence[Item], max_pixels: int, image_size: int) -> None:
        self._items, self._max_pixels, self._image_size = items, max_pixels, image_size
        self._opened: dict[int, _Opened] = {}
        self._usable: dict[int, Item] = {}
        self._features = np.zeros((len(items), len(FEATURES)), np.float32)
        self._cameras: dict[int, str] = {}
        self._findings: dict[int, list[Finding]] = {}
        self._bytes = 0

    def passes(self) -> Iterator[tuple[Iterator[_Chunk], _Decode]]:
        """Yield files and their decoder: all JPEG files, then the rest, if any."""
        yield self._jpegs(), _decode_jpeg
        not_jpeg = [i for i, file in self._opened.items() if file.header.format != "jpeg"]
        if not_jpeg:  # tracing the decoder of all formats takes a second
            starts = range(0, len(not_jpeg), _CHUNK)
            yield (self._chunk(not_jpeg[at : at + _CHUNK]) for at in starts), decode_stored

    def _jpegs(self) -> Iterator[_Chunk]:
        """Open all files, and yield the JPEG files in chunks."""
        for start in range(0, len(self._items), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(self._items)))
            yield self._chunk([index for index in chunk if self._open(index) == "jpeg"])

    def _chunk(self, indices: list[int]) -> _Chunk:
        paths = [os.fsencode(self._items[index].path) for index in indices]
        return np.array(indices, np.int64), paths

    def _open(self, index: int) -> str | None:
        """Read header and digest; return the format if the pipeline can decode it."""
        path = self._items[index].path
        try:
            with as_bad_file_error():
                header, data = read_file(path, self._max_pixels)
        except BadFileError as problem:
            self._findings[index] = [bad_file_finding(path, problem)]
            return None
        if not transcode.decodes_as_stored(data):
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
    ) -> None:
        """Process a batch of the pipeline."""
        opened = [self._opened.pop(index) for index in indices.tolist()]
        applied = [
            file.header.orientation if decoded == _FROM_HEADER else decoded
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
            self._keep(index, item, header, size, colours[number])

    def remaining(self) -> list[int]:
        """Return the positions of files that were neither decoded nor rejected."""
        known = self._usable.keys() | self._findings.keys()
        return [index for index in range(len(self._items)) if index not in known]

    def inspect_one(self, index: int) -> None:
        """Inspect one file, which gives the reason if it cannot be decoded."""
        item = self._items[index]
        try:
            inspected = inspect_file(item, max_pixels=self._max_pixels, decode=image_decoder())
        except BadFileError as problem:
            self._findings[index] = [bad_file_finding(item.path, problem)]
            return
        colours = colours_of(inspected.decoded.thumbnail[np.newaxis])[0]
        self._keep(index, inspected.item, inspected.header, inspected.size, colours)

    def _keep(
        self, index: int, item: Item, header: Header, size: int, colours: NDArray[np.float32]
    ) -> None:
        self._features[index] = features_of(
            width=item.width,
            height=item.height,
            size=size,
            quality=header.quality,
            colours=colours,
        )
        self._usable[index] = item
        if header.camera:
            self._cameras[index] = sys.intern(header.camera)
        findings = list(unusual_file_findings(item, header, image_size=self._image_size))
        if findings:
            self._findings[index] = findings
        self._bytes += size

    def result(self) -> Scan:
        """Return everything in the order of the items."""
        order = sorted(self._usable)
        return Scan(
            items=[self._usable[index] for index in order],
            features=self._features[order],
            cameras=[self._cameras.get(index, "") for index in order],
            findings=[each for index in sorted(self._findings) for each in self._findings[index]],
            bytes=self._bytes,
        )


@without_autograph
def _decode_jpeg(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return decode_jpeg(data), tf.constant(_FROM_HEADER, tf.int64)


@functools.cache  # tracing takes as long as decoding a hundred images
def _loader(decode: _Decode) -> Callable[..., Any]:
    @tf.function(
        input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)], autograph=False
    )
    def load(index: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, orientation = decode(tf.io.read_file(path))
        side = [perceptual_hash.HASH_SIDE, perceptual_hash.HASH_SIDE]
        return index, tf.shape(image), orientation, tf.image.resize(image, side, method="area")

    result: Callable[..., Any] = without_autograph(load.get_concrete_function())
    return result


def _pipeline(chunks: Iterator[_Chunk], decode: _Decode) -> tf.data.Dataset:
    """Decode files in batches.

    A batch has positions [B], stored shapes [B, 3], EXIF orientations [B] and thumbnails before
    their orientation is applied [B, 32, 32, 3]. Files that cannot be decoded are omitted.
    """
    signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.string))
    files = tf.data.Dataset.from_generator(lambda: chunks, output_signature=signature)
    calls = (
        min(os.cpu_count() or 1, 16) + 1
    )  # one more, because the reading of headers waits for the disk
    decoded = (
        files.prefetch(1)
        .unbatch()
        .map(_loader(decode), num_parallel_calls=calls, deterministic=False)
    )
    batches = decoded.ignore_errors(log_warning=False).batch(_CHUNK).prefetch(1)
    return batches.with_options(fixed_options())


def _upright(thumbnail: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Apply an EXIF orientation, as ``tltool.data.decoding.exif.turn_upright`` does."""
    if orientation >= 5:
        thumbnail = thumbnail.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        thumbnail = thumbnail[::-1]
    return thumbnail[:, ::-1] if orientation in (2, 3, 6, 7) else thumbnail
