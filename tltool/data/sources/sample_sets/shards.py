"""The files of a data set that is stored in shards: by folder, pattern or single file.

Patterns are those of shells and of WebDataset: ``train-{000..011}.tar``, ``{train,val}-*.parquet``.
"""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.data.catalog import SplitName
from tltool.data.sources.listing import listed, split_named
from tltool.data.sources.tables.path_spelling import is_url
from tltool.errors import DataError, counted
from tltool.recipe.library import expanded

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_OF = re.compile(r"(.*)-(\d{1,9})-of-(\d{1,9})(\D.*|)", re.DOTALL)
_MOST_SHARDS = 100_000
_MORE_SPLIT_WORDS: dict[str, SplitName] = {"dev": "validation", "eval": "test", "testing": "test"}


@dataclass(frozen=True)
class Shard:
    """One file of a data set.

    Attributes:
        path: the file.
        name: its path in the data set, without extension; unique.
        split: that its name or its folder names.
    """

    path: Path
    name: str
    split: SplitName | None


@dataclass(frozen=True)
class ShardSet:
    """The files of a data set.

    Attributes:
        shards: those that are used, in a fixed order.
        unused: names of files that belong to no split, although the others do.
    """

    shards: tuple[Shard, ...]
    unused: tuple[str, ...]


def find_shards(source: str, location: str, extensions: tuple[str, ...]) -> ShardSet:
    """Find the shards of a data set.

    The splits in the names count only if there are several and one is train.

    Args:
        source: as the user named it, for the errors.
        location: a file, a folder of files with these extensions, or a pattern.
        extensions: in lower case.

    Raises:
        DataError: there are none, or some of a numbered series are missing.
    """
    files = _files(source, location, extensions)
    base = Path(os.path.commonpath([file.parent for file in files]))
    names = [file.relative_to(base).as_posix() for file in files]
    if expanded(location).is_dir():
        _check_complete(source, names)
        _check_single_set(source, names)
    splits = [_split_of(name) for name in names]
    if "train" not in splits or len(set(splits) - {None}) < 2:
        splits = [None] * len(files)
    has_splits = any(splits)
    shards = tuple(
        Shard(file, _without_extension(name, extensions), split)
        for file, name, split in zip(files, names, splits, strict=True)
        if split or not has_splits
    )
    unused = (n for n, split in zip(names, splits, strict=True) if has_splits and not split)
    return ShardSet(shards, tuple(unused))


def _files(source: str, location: str, extensions: tuple[str, ...]) -> list[Path]:
    path = expanded(location)
    if is_url(location) or location.startswith("pipe:"):
        raise DataError(f"{source} is not a local file", hint="download its files first")
    if os.path.isfile(path):  # noqa: PTH113  (Path.is_file raises on invalid names)
        return [path]
    if os.path.isdir(path):  # noqa: PTH112
        if files := _in_folder(path, extensions):
            return files
        raise DataError(
            f"{source}: the folder has no files with the extension {' or '.join(extensions)}",
            hint="check the path for a typo",
        )
    return _matching(source, str(path))


def _in_folder(folder: Path, extensions: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_raise_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place) / name for name in names if name.lower().endswith(extensions))
        found += [path for path in paths if not path.name.startswith(".")]
    return sorted(found)


def _raise_unreadable(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}") from None


def _matching(source: str, location: str) -> list[Path]:
    files: dict[Path, None] = {}
    missing: list[str] = []
    for count, pattern in enumerate(expand_braces(location), start=1):
        if count > _MOST_SHARDS:
            raise DataError(f"{source} names more than {_MOST_SHARDS:,} files")
        found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
        found = [each for each in found if os.path.isfile(each)]  # noqa: PTH113
        files.update(dict.fromkeys(map(Path, found)))
        missing += [] if found else [pattern]
    if missing:
        raise DataError(
            f"{source}: there is no file {listed(missing, 3)}",
            hint="check the path for a typo; {000..011} means twelve numbered files",
        )
    return list(files)


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the texts of a pattern with braces, as Bash expands them."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    before, after = pattern[: match.start()], pattern[match.end() :]
    for choice in _choices(match[1]):
        yield from expand_braces(before + choice + after)


def _choices(text: str) -> Iterator[str]:
    numbers = _RANGE.fullmatch(text)
    if numbers is None:
        yield from text.split(",")
        return
    first, last = int(numbers[1]), int(numbers[2])
    width = len(numbers[1]) if numbers[1].startswith("0") else 0
    for number in range(first, last + 1) if first <= last else range(first, last - 1, -1):
        yield f"{number:0{width}d}"


def _check_complete(source: str, names: Sequence[str]) -> None:
    """Check that all files of series such as ``train-00000-of-00004`` exist."""
    series: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for name in names:
        if match := _OF.fullmatch(name):
            series[match[1], match[3], match[4]].add(int(match[2]))
    for (start, count, end), numbers in series.items():
        missing = sorted(set(range(min(int(count), _MOST_SHARDS))) - numbers)
        if missing:
            width = len(count)
            shown = [f"{start}-{number:0{width}d}-of-{count}{end}" for number in missing]
            found = counted(len(missing), f"file of {int(count)} is", f"files of {int(count)} are")
            raise DataError(
                f"{source}: {found} missing: {listed(shown, 3)}",
                hint="download them; to use only some files, name them with a pattern:"
                f" {start}-*{end}",
            )


def _check_single_set(source: str, names: Sequence[str]) -> None:
    """Check that the folders are splits, not different data sets or configurations."""
    sets = {
        "/".join(part for part in name.split("/")[:-1] if _split_of(part) is None) for name in names
    }
    if len(sets) > 1:
        raise DataError(
            f"{source} has several data sets in folders: {listed(sorted(sets))}",
            hint="name one of the folders, or the files with a pattern",
        )


def _split_of(name: str) -> SplitName | None:
    """Return the split in the name of a file, or else of the nearest folder."""
    for part in reversed(name.split("/")):
        for word in re.split(r"[^a-zA-Z]+", part):
            if split := split_named(word) or _MORE_SPLIT_WORDS.get(word.lower()):
                return split
    return None


def _without_extension(name: str, extensions: tuple[str, ...]) -> str:
    ending = max((e for e in extensions if name.lower().endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)]
