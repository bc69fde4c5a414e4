"""Class folders that are probably paired images: two images of each scene, and no classes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path

from tltool.data.decoding.image_size import read_size
from tltool.data.sources.folders.folder_names import pair_named
from tltool.data.sources.folders.folder_tree import FolderWalk
from tltool.data.sources.listing import listed

_MOST_FOLDERS = 6  # images of one scene: colour, depth, infrared, normals, …
_COMPARED_FIRST = 500  # file names of each folder
_COMPARED = 20_000  # where the first ones are the same
_MEASURED = 30  # images of each folder
_SAME_NAMES = 0.95
_FEWEST = 2  # pairs in folders that are named as such
_FEWEST_IN_OTHERS = 10
_DENSE = 0.9
_NUMBER = re.compile(r"\d+")
_HEADER = 2**18  # bytes


def find_paired_folders(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return the pairs of folders whose images are probably two of each scene.

    Almost all their files have the same names, and more speaks for it: the names of the folders
    (``rgb`` and ``depth``, ``A`` and ``B``); file names that two classes do not have by chance; or
    sizes of images that differ, but are the same in each pair. Files that are numbered from 1 on in
    each class are no sign.

    Args:
        folders: that would be classes.
    """
    if not 1 < len(folders) <= _MOST_FOLDERS:
        return []
    alone = len(folders) == 2
    first = {folder: _images(folder, _COMPARED_FIRST) for folder in folders}
    return [
        (one, other)
        for one, other in combinations(folders, 2)
        if _same_names(first[one], first[other]) and _are_paired(one, other, alone=alone)
    ]


def describe_pairs(folders: tuple[Path, Path]) -> str:
    """Return what the file names of two class folders show."""
    names = listed([folder.name for folder in folders])
    return f"the files of the classes {names} have the same names, as paired images of one scene do"


def _images(folder: Path, most: int) -> dict[str, Path]:
    """Return the first images below a folder by their names without extension."""
    images: dict[str, Path] = {}
    for path, _ in zip(FolderWalk().images_below(folder), range(most), strict=False):
        images.setdefault(path.stem, path)
    return images


def _same_names(images: Collection[str], others: Collection[str]) -> list[str]:
    """Return the names that two folders have in common, none if they are not almost all."""
    common = set(images).intersection(others)
    enough = max(_FEWEST, _SAME_NAMES * max(len(images), len(others)))
    return sorted(common) if len(common) >= enough else []


def _are_paired(first: Path, second: Path, *, alone: bool) -> bool:
    images, others = _images(first, _COMPARED), _images(second, _COMPARED)
    names = _same_names(images, others)
    if names and pair_named(first.name, second.name, alone=alone):
        return True
    if len(names) < _FEWEST_IN_OTHERS:
        return False
    is_complete = max(len(images), len(others)) < _COMPARED
    some = names[:: -(-len(names) // _MEASURED)]
    return (is_complete and not _are_numbered(names)) or _have_same_sizes(
        [(images[name], others[name]) for name in some]
    )


def _are_numbered(names: Sequence[str]) -> bool:
    """Return whether names are those of few sequences without gaps, as classes have them too."""
    sequences: dict[str, list[list[int]]] = defaultdict(list)
    for name in names:
        sequences[_NUMBER.sub("0", name)].append([int(n) for n in _NUMBER.findall(name)])
    expected = sum(map(_numbers_between, sequences.values()))
    few = len(sequences) * _FEWEST_IN_OTHERS <= len(names)
    return few and len(names) >= _DENSE * expected


def _numbers_between(numbers: Sequence[Sequence[int]]) -> int:
    """Return how many lists of numbers are between the least and the greatest ones."""
    return math.prod(max(each) - min(each) + 1 for each in zip(*numbers, strict=True))


def _have_same_sizes(pairs: Sequence[tuple[Path, Path]]) -> bool:
    """Return whether images differ in size from pair to pair, but not within a pair."""
    sizes = [(_size(first), _size(second)) for first, second in pairs]
    different = {size for size, _ in sizes}
    return 2 * len(different) > len(sizes) and all(
        size is not None and size == other for size, other in sizes
    )


def _size(path: Path) -> tuple[int, int] | None:
    """Return width and height of an image file, None if they cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for its writer
            return None
        with path.open("rb") as file:
            size = read_size(file.read(_HEADER))
    except OSError:
        return None
    return None if size is None else (size.width, size.height)
