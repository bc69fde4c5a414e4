"""Looks up image files in a folder by path, name or name without extension, in any spelling."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

from tltool.data.decoding.extensions import IMAGE_EXTENSIONS

_MOST_FILES = 2_000_000
_JPEG = (".jpeg", ".jpe", ".jfif")
_ZEROS = re.compile(r"(?<![^/])0+(?=[0-9]+(\.[^./]*)?$)")  # before a name that is a number


class FileIndex:
    """The image files below a folder, listed at the first look-up.

    Paths are compared without upper and lower case and in one Unicode form; ``.jpeg`` is ``.jpg``.

    Args:
        folder: the folder; hidden folders are left out, and links to folders are not followed.
        zeros: whether leading zeros of numbers count: without them ``1.jpg`` is ``0001.jpg``.
    """

    def __init__(self, folder: Path, *, zeros: bool = True) -> None:
        self._folder = folder
        self._zeros = zeros

    def without_zeros(self) -> FileIndex:
        """Return the index of the same files without leading zeros of their names."""
        index = FileIndex(self._folder, zeros=False)
        index._files = self._files
        return index

    def files(self, path: str) -> Sequence[str]:
        """Return the files with this path, relative to the folder."""
        return self._by_path.get(self._key(path), ())

    def files_without_extension(self, path: str) -> Sequence[str]:
        """Return the files with this path and any extension of an image."""
        return self._by_stem.get(self._key(path, without_jpeg=False), ())

    def files_ending_in(self, path: str) -> Sequence[str]:
        """Return the files in any folder whose path ends in this one."""
        end = "/" + self._key(path)
        return [f for f in self._by_name.get(_name(end), ()) if ("/" + self._key(f)).endswith(end)]

    def files_ending_in_without_extension(self, path: str) -> Sequence[str]:
        """Return the files in any folder whose path without extension ends in this one."""
        end = "/" + self._key(path, without_jpeg=False)
        found = self._by_stem_name.get(_name(end), ())
        return [f for f in found if ("/" + self._stem(f)).endswith(end)]

    @cached_property
    def _files(self) -> list[str]:
        return list(islice(image_files(self._folder), _MOST_FILES))

    @cached_property
    def _by_path(self) -> Mapping[str, Sequence[str]]:
        return _grouped((self._key(file), file) for file in self._files)

    @cached_property
    def _by_stem(self) -> Mapping[str, Sequence[str]]:
        return _grouped((self._stem(file), file) for file in self._files)

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[str]]:
        return _grouped((_name(self._key(file)), file) for file in self._files)

    @cached_property
    def _by_stem_name(self) -> Mapping[str, Sequence[str]]:
        return _grouped((_name(self._stem(file)), file) for file in self._files)

    def _key(self, path: str, *, without_jpeg: bool = True) -> str:
        """Return the spelling in which paths are compared."""
        text = unicodedata.normalize("NFC", path).casefold().removeprefix("./")
        text = text if self._zeros else _ZEROS.sub("", text)
        stem, extension = os.path.splitext(text)  # noqa: PTH122
        return f"{stem}.jpg" if without_jpeg and extension in _JPEG else text

    def _stem(self, path: str) -> str:
        return os.path.splitext(self._key(path))[0]  # noqa: PTH122


def _grouped(pairs: Iterator[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, file in pairs:
        groups[key].append(file)
    return groups


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def is_image_name(name: str) -> bool:
    """Return whether a file name has the extension of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122


def image_files(folder: Path) -> Iterator[str]:
    """Yield the image files below a folder, relative to it, in a fixed order."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(place, folder)
        for name in sorted(names):
            if is_image_name(name):
                yield name if relative == "." else f"{relative}/{name}"
