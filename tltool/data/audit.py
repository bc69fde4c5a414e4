"""Every file opened and fully decoded once, before the first training step."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image, UnidentifiedImageError

from tltool.data import transcode
from tltool.data.catalog import Catalog, Item
from tltool.data.sources.folder import Listing
from tltool.errors import DataError
from tltool.events import Observer

Decoder = Callable[[bytes], tuple[int, int, int]]

_NAMED_AT_MOST = 5
_PROGRESS_STEPS = 200
_EXTENSIONS = {
    "jpeg": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "png": {".png"},
    "gif": {".gif"},
    "bmp": {".bmp", ".dib"},
    "webp": {".webp"},
    "tiff": {".tif", ".tiff"},
}


@dataclass(frozen=True)
class Issue:
    """Something about one file worth knowing; ``bad`` ones are left out of the catalog."""

    path: Path
    kind: str
    detail: str
    bad: bool


@dataclass(frozen=True)
class Audit:
    """The usable items with what is known of them, and all issues."""

    catalog: Catalog
    issues: tuple[Issue, ...]
    listing: Listing


class _BadFile(Exception):
    """A file that cannot be used: kind and detail of its issue."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


def audit(
    listing: Listing,
    *,
    on_bad: Literal["skip", "fail"],
    max_bad_fraction: float,
    max_pixels: int,
    observer: Observer,
) -> Audit:
    """Decode every file by the decoder that training uses, and keep those that can be used.

    Args:
        listing: the files, as their source found them.
        on_bad: ``skip`` warns about bad files and leaves them alone, ``fail`` stops.
        max_bad_fraction: over this share of bad files (0 to 1), ``skip`` stops too.
        max_pixels: larger images are bad; they are recognised without being decoded.
        observer: hears the progress and the warnings.

    Raises:
        DataError: nothing is readable, a whole class is bad, or there is too much bad.
    """
    items: list[Item] = []
    issues = _listing_issues(listing)
    total = len(listing.items)
    for done, (item, found) in enumerate(_checked(listing.items, max_pixels), start=1):
        issues += found
        if not any(issue.bad for issue in found):
            items.append(item)
        if done % max(total // _PROGRESS_STEPS, 1) == 0 or done == total:
            observer.on_progress(done, total)
    bad = [issue for issue in issues if issue.bad]
    _check_classes(listing, items, bad)
    _check_policy(bad, total, on_bad, max_bad_fraction)
    issues += _content_issues(items)
    _report(bad, observer)
    names = tuple(sorted({item.label for item in items}))
    return Audit(Catalog(listing.root, tuple(items), names), tuple(issues), listing)


def write_issues(path: Path, issues: Sequence[Issue]) -> None:
    """Write ``data_issues.csv``: path, kind, used (yes or no), detail; UTF-8."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "kind", "used", "detail"])
        for issue in issues:
            writer.writerow([issue.path, issue.kind, "no" if issue.bad else "yes", issue.detail])


def _listing_issues(listing: Listing) -> list[Issue]:
    stray = [
        Issue(path, "outside the class folders", "it has no label and is not used", bad=False)
        for path in listing.stray
    ]
    empty = [
        Issue(path, "empty class folder", "it holds no image and is no class", bad=False)
        for path in listing.empty_classes
    ]
    return stray + empty


def _checked(items: Sequence[Item], max_pixels: int) -> Iterator[tuple[Item, list[Issue]]]:
    """Check all items in parallel and yield them in order."""
    decode = _decoder()
    pool = ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16))
    try:
        yield from pool.map(lambda item: _check(item, max_pixels, decode), items)
    finally:  # after an error or Ctrl-C, the files still waiting are not opened
        pool.shutdown(cancel_futures=True)


def _check(item: Item, max_pixels: int, decode: Decoder) -> tuple[Item, list[Issue]]:
    try:
        return _inspect(item, max_pixels, decode)
    except _BadFile as bad:
        return item, [Issue(item.path, bad.kind, bad.detail, bad=True)]
    except DataError as error:
        return item, [Issue(item.path, "unsupported", error.message, bad=True)]
    except OSError as error:
        return item, [Issue(item.path, "unreadable", error.strerror or str(error), bad=True)]
    except MemoryError:
        return item, [Issue(item.path, "too large", "it does not fit into memory", bad=True)]


def _inspect(item: Item, max_pixels: int, decode: Decoder) -> tuple[Item, list[Issue]]:
    status = item.path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
        raise _BadFile("unreadable", "it is not a regular file")
    if status.st_size == 0:
        raise _BadFile("empty", "0 bytes")
    with item.path.open("rb") as file:
        image_format, frames = _read_header(file, max_pixels)
        file.seek(0)
        data = file.read()
    stored = transcode.decodes_as_stored(data)
    height, width, orientation = decode(
        data if stored else transcode.transcode(data, name=item.path.name)
    )
    checked = replace(
        item,
        sha256=hashlib.sha256(data).hexdigest(),
        width=width,
        height=height,
        format=image_format,
        orientation=orientation,
    )
    return checked, _notes(item.path, image_format, frames)


def _read_header(file: BinaryIO, max_pixels: int) -> tuple[str, int]:
    """Return format and number of frames; nothing is decoded yet."""
    start = file.read(64)
    file.seek(0)
    try:
        with Image.open(file) as image:
            _check_pixels(image.size, max_pixels)
            name = image.format or "image"
            frames = getattr(image, "n_frames", 1) if name in ("GIF", "PNG", "WEBP") else 1
            return transcode.FORMATS.get(name, name.lower()), frames
    except Image.DecompressionBombError:
        raise _BadFile("too many pixels", f"more than {2 * _pillow_limit():,}") from None
    except UnidentifiedImageError:
        raise _unidentified(start) from None
    except (SyntaxError, ValueError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's error, not Pillow's about the content
        raise _BadFile("damaged", f"its header is broken: {error}") from None


def _pillow_limit() -> int:
    return Image.MAX_IMAGE_PIXELS or transcode.MAX_PIXELS


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _BadFile(
            "too many pixels", f"{width} x {height}, over the limit of {max_pixels:,} pixels"
        )


def _unidentified(start: bytes) -> _BadFile:
    if transcode.decodes_as_stored(start):
        return _BadFile("damaged", "it is truncated or damaged: its header is broken")
    error = transcode.not_an_image(start, "the file")
    if error.hint:
        return _BadFile("unsupported", f"{error.message}; {error.hint}")
    return _BadFile("not an image", "its content is of no known image format")


def _notes(path: Path, image_format: str, frames: int) -> list[Issue]:
    notes = []
    extension = path.suffix.lower()
    known = {name for names in _EXTENSIONS.values() for name in names}
    expected = _EXTENSIONS.get(image_format, set())
    if extension not in expected and (expected or extension in known):
        detail = f"it is a {image_format.upper()} file; used all the same"
        notes.append(Issue(path, "wrong extension", detail, bad=False))
    if frames > 1:
        detail = f"only the first of its {frames} frames is used"
        notes.append(Issue(path, "animated", detail, bad=False))
    return notes


@functools.cache  # building the graph takes longer than decoding a hundred photos
def _decoder() -> Decoder:
    """Return a function from bytes to upright height, width and stored orientation."""
    import tensorflow as tf

    from tltool.data import exif
    from tltool.data.decode import decode_with_orientation

    signature = [tf.TensorSpec([], tf.string)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def decode_all(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stored, orientation = decode_with_orientation(data)
        return tf.shape(exif.turn_upright(stored, orientation)), orientation

    function = decode_all.get_concrete_function()

    def decode(data: bytes) -> tuple[int, int, int]:
        try:
            with tf.device("/CPU:0"):
                shape, orientation = function(tf.constant(data))
        except tf.errors.ResourceExhaustedError:
            raise MemoryError from None
        except tf.errors.OpError:
            raise _BadFile("damaged", "it is truncated or damaged") from None
        height, width, _ = shape.numpy().tolist()
        return height, width, int(orientation.numpy())

    return decode


def _check_classes(listing: Listing, items: Sequence[Item], bad: Sequence[Issue]) -> None:
    if not items:
        raise DataError(
            f"none of the {len(listing.items)} images in {listing.root} can be read"
            f" ({_described(bad)})"
        )
    lost = sorted({item.label for item in listing.items} - {item.label for item in items})
    if lost:
        names = ", ".join(repr(name) for name in lost)
        raise DataError(
            f"no image of class {names} can be read ({_described(bad)})",
            hint="replace these files, or remove the folder of the class",
        )


def _check_policy(bad: Sequence[Issue], total: int, on_bad: str, most: float) -> None:
    if not bad or (on_bad == "skip" and len(bad) <= most * total):
        return
    allowed = "" if on_bad == "fail" else f", more than the {most:.0%} that may be skipped"
    raise DataError(
        f"{len(bad)} of {total} files cannot be used{allowed}: {_described(bad)}",
        hint="repair or remove these files, or allow more with data.on_bad"
        " and data.max_bad_fraction",
    )


def _described(bad: Sequence[Issue]) -> str:
    shown = "; ".join(
        f"{issue.path.parent.name}/{issue.path.name}: {issue.kind}"
        for issue in bad[:_NAMED_AT_MOST]
    )
    more = len(bad) - _NAMED_AT_MOST
    return shown if more <= 0 else f"{shown}; and {more} more"


def _content_issues(items: Sequence[Item]) -> list[Issue]:
    """Note the same content under two labels, or in two of the splits that the source gave."""
    same: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        same[item.sha256].append(item)
    issues = []
    for copies in same.values():
        labels = sorted({item.label for item in copies})
        splits = sorted({item.given_split or "train" for item in copies})
        if len(labels) > 1:
            issues += _noted(copies, "same image, different labels", labels)
        if len(splits) > 1:
            issues += _noted(copies, "duplicate across splits", splits)
    return issues


def _noted(copies: Sequence[Item], kind: str, found: Sequence[str]) -> list[Issue]:
    detail = "the same content is in " + " and ".join(found)
    return [Issue(item.path, kind, detail, bad=False) for item in copies]


def _report(bad: Sequence[Issue], observer: Observer) -> None:
    if not bad:
        return
    kinds = Counter(issue.kind for issue in bad)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    observer.on_message(
        f"{len(bad)} files cannot be used and are left alone ({summary}): {_described(bad)}",
        level="warning",
    )
