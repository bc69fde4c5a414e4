"""Counts the files of a source that are not read as images, and says what to do about them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_PER_EXTENSION = 5  # examples kept
_MAX_OPENED = 1000  # files whose first bytes are read
_NAMED_AT_MOST = 6
# not images, so that nobody opens them; everything else may be an image with a strange name
_KNOWN = frozenset(
    {".txt", ".md", ".pdf", ".html", ".htm", ".css", ".js", ".json", ".jsonl", ".xml", ".csv"}
    | {".tsv", ".xlsx", ".xls", ".doc", ".docx", ".yaml", ".yml", ".toml", ".py", ".ipynb", ".sh"}
    | {".m", ".mat", ".npy", ".npz", ".pkl", ".h5", ".zip", ".tar", ".gz", ".log", ".db", ".svg"}
)
SIGNATURES: Mapping[bytes, str] = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"GIF87a": ".gif",
    b"GIF89a": ".gif",
}
"""The first bytes of image files whose names may lack an extension."""

_NUMBERED = re.compile(r"(\D*[^\W\d_])[\W_]*\d+")
_RAW = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw")
_VIDEO = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".3gp")
_MENDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (_RAW, "export the camera raw files as JPEG"),
    ((".dcm", ".dicom", ".nii"), "convert the medical images to PNG, for example with dcmj2pnm"),
    (_VIDEO, "extract frames from the videos, for example with ffmpeg"),
    ((".psd", ".xcf", ".ai", ".eps", ".svg"), "export the drawings as PNG"),
    ((".jxl", ".heics", ".insp", ".fits", ".fit", ".exr", ".hdr", ".tga", ".pcx"),
     "convert them to JPEG or PNG, for example with ImageMagick"),
    ((".tfrecord", ".tfrecords"), "if TensorFlow Datasets wrote the files, give tfds-folder:DIR"),
    ((".rar", ".7z", ".zst", ".gz", ".z"), "extract the archives first, and give the folder"),
    ((".arrow",), "write the data set of Hugging Face with DATASET.to_parquet(FILE), and give"
     " parquet:FILE"),
    ((".mdb", ".lmdb"), "save the images of the LMDB database as files, into a folder per class"),
)  # fmt: skip


@dataclass
class OtherFiles:
    """Files without the extension of an image.

    Attributes:
        counts: by lower-case extension, ``""`` for none.
        examples: a few files of each extension.
        misnamed: files that begin as an image does, in spite of their names.
        opened: number of files whose first bytes were read.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Path]] = field(default_factory=dict)
    misnamed: list[Path] = field(default_factory=list)
    opened: int = 0

    def some(self, extensions: Collection[str]) -> list[Path]:
        """Return a few of the files with one of ``extensions``."""
        return [path for name in extensions for path in self.examples.get(name, ())]

    def add(self, path: Path) -> None:
        """Count a file; the first bytes of one with an unusual name are read."""
        extension = path.suffix.lower()
        self.counts[extension] += 1
        examples = self.examples.setdefault(extension, [])
        if len(examples) < _PER_EXTENSION:
            examples.append(path)
        if extension not in _KNOWN and self.opened < _MAX_OPENED:
            self.opened += 1
            if extension_by_content(path):
                self.misnamed.append(path)


def extension_by_content(path: Path) -> str | None:
    """Return the extension for the format of a file by its first bytes; None for no image."""
    start = b""
    with suppress(OSError):
        if path.is_file():  # a pipe would wait for its writer
            with path.open("rb") as file:
                start = file.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return ".webp"
    return next((name for first, name in SIGNATURES.items() if start.startswith(first)), None)


def misnamed_hint(paths: Sequence[Path]) -> str:
    """Return how to rename files that begin as an image does."""
    path = paths[0]
    extension = extension_by_content(path) or ".jpg"
    return f"rename them, for example {path.name!r} to end in {extension}"


def classes_in_names(stems: Iterable[str]) -> list[str]:
    """Return the words before the numbers in file names, if they may be classes; else nothing.

    Examples:
        >>> classes_in_names(["cat.0", "cat.1", "dog.0", "dog.1"])
        ['cat', 'dog']
    """
    words = [match[1] if (match := _NUMBERED.fullmatch(stem)) else "" for stem in stems]
    counts = Counter(words)
    if "" in counts or not 2 <= len(counts) <= len(words) / 2:
        return []
    return sorted(counts)


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return the numbers of files by extension, the most frequent first: ``8 .cr2, 2 .txt``."""
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{count:,} {name or 'without extension'}" for name, count in most[:_NAMED_AT_MOST]]
    rest = sum(count for _, count in most[_NAMED_AT_MOST:])
    return ", ".join([*shown, *([f"{rest:,} others"] if rest else [])])


def conversion_hint(extensions: Sequence[str]) -> str | None:
    """Return how to make images of files with these extensions; None if there is no way."""
    hints = [hint for kinds, hint in _MENDS if not set(kinds).isdisjoint(extensions)]
    return "; ".join(hints) or None
