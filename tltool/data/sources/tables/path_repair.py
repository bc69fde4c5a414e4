"""Finds the files of a table whose paths do not exist as written, by one repair for all rows.

Repairs are backslashes, blanks and quotes at the ends, ``%20``, ``~``, upper and lower case,
another Unicode form, a missing or another extension, leading zeros that a spreadsheet removed, and
a folder that is missing before the name or comes from another computer. Nothing is guessed: a
repair must find exactly one file for every row.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.data.sources.tables.file_index import FileIndex, is_image_name
from tltool.data.sources.tables.path_spelling import cleaned, describe_cleaning, is_url
from tltool.errors import counted

_Match = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class PathRepair:
    """The files of paths that do not exist as written.

    Attributes:
        files: of each path that was found, by the path as written; relative to the table's folder
            or absolute.
        summary: what was repaired, with an example; empty if nothing was.
        problem: why a repair was refused, because several files can be meant; empty if none was.
    """

    files: Mapping[str, str]
    summary: str = ""
    problem: str = ""


@dataclass(frozen=True)
class _Attempt:
    """A way to look files up.

    Attributes:
        description: of the repair.
        match: returns the files that a cleaned path can mean.
        dropped: number of folders at the start of a path that are left out.
    """

    description: str
    match: _Match
    dropped: int = 0


def repair_paths(folder: Path, paths: Sequence[str], *, all_missing: bool) -> PathRepair:
    """Return the files of paths that do not exist as written.

    The first repair that finds a file for all paths is used. If none does, nothing is repaired
    unless it finds most of them; the others are then really missing.

    Args:
        folder: of the table.
        paths: as written, all of them missing.
        all_missing: whether no path of the table exists as written. Otherwise its folders are
            right, and only the spelling is repaired.
    """
    clean = {path: text for path in paths if not is_url(text := cleaned(path))}
    best: tuple[_Attempt, dict[str, Sequence[str]]] | None = None
    for attempt in _attempts(folder, list(clean.values()), all_missing=all_missing):
        matches = {path: attempt.match(clean[path]) for path in clean}
        matches = {path: files for path, files in matches.items() if files}
        if matches and (best is None or len(matches) > len(best[1])):
            best = attempt, matches
        if len(matches) == len(clean):
            break
    if best is None or 2 * len(best[1]) < len(clean):
        return PathRepair({})
    repair = _repair(clean, *best)
    is_complete = len(best[1]) == len(clean)
    return repair if is_complete or not repair.problem else PathRepair({})


def _repair(
    clean: Mapping[str, str], attempt: _Attempt, matches: Mapping[str, Sequence[str]]
) -> PathRepair:
    files = {path: found[0] for path, found in matches.items() if len(found) == 1}
    if len(files) < len(matches):
        files = _by_one_way(clean, attempt, matches)
    if not files:
        return PathRepair({}, problem=_describe_ambiguity(matches))
    example = next(iter(files))
    changes = [*describe_cleaning(files), attempt.description]
    repaired = counted(
        len(files),
        "path does not exist as written and is repaired",
        "paths do not exist as written and are repaired",
    )
    return PathRepair(
        files,
        f"{repaired} ({', '.join(filter(None, changes))}): {example[:200]!r} is {files[example]!r}",
    )


def _by_one_way(
    clean: Mapping[str, str], attempt: _Attempt, matches: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return the files of the only folder and extension that explain every path, else nothing."""
    by_way: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, files in matches.items():
        depth = clean[path].count("/") + 1 - attempt.dropped
        for file in files:
            extension = os.path.splitext(file)[1].lower()  # noqa: PTH122
            way = "/".join(file.split("/")[:-depth]), extension
            by_way[way][path].append(file)
    complete = [
        way
        for way in by_way.values()
        if len(way) == len(matches) and all(len(files) == 1 for files in way.values())
    ]
    if len(complete) != 1:
        return {}
    return {path: files[0] for path, files in complete[0].items()}


def _describe_ambiguity(matches: Mapping[str, Sequence[str]]) -> str:
    path, files = next((p, f) for p, f in matches.items() if len(f) > 1)
    names = " or ".join(map(repr, sorted(files)[:3]))
    count = sum(len(f) > 1 for f in matches.values())
    return f"{path[:200]!r} does not exist and can be {names} ({count:,} such paths)"


def _attempts(folder: Path, paths: Sequence[str], *, all_missing: bool) -> Iterator[_Attempt]:
    """Yield the ways to look up cleaned paths, the most literal first."""
    yield _Attempt("", lambda path: [path] if _is_file(folder, path) else [])
    index = FileIndex(folder)
    yield from _lookups(index, "", 0)
    above = _common_folders(paths) if all_missing else []
    starts = ["/".join(above[:count]) + "/" for count in range(1, len(above) + 1)]
    for count, start in enumerate(starts, start=1):
        yield from _lookups(index, start, count)
    if all_missing:
        yield from _lookups_below(index)
    for count, start in enumerate(["", *starts]):
        yield _other_extension(index.files_without_extension, start, count)
    if all_missing:
        yield _other_extension(index.files_ending_in_without_extension)
    numbers = index.without_zeros()
    for count, start in enumerate(["", *starts]):
        yield from _lookups(numbers, start, count, "leading zeros added")
    if all_missing:
        yield from _lookups_below(numbers, "leading zeros added")


def _lookups_below(index: FileIndex, repair: str = "") -> Iterator[_Attempt]:
    below = "found in a folder below"
    yield _Attempt(_joined(repair, below), index.files_ending_in)
    yield _Attempt(
        _joined(repair, "extension added", below), index.files_ending_in_without_extension
    )


def _other_extension(match: _Match, start: str | None = None, dropped: int = 0) -> _Attempt:
    """Return the look-up of paths with the extension of another image format."""
    without = "found in a folder below" if start is None else f"without {start!r}" if start else ""

    def match_stem(path: str) -> Sequence[str]:
        stem = os.path.splitext(path.removeprefix(start or ""))[0]  # noqa: PTH122
        return match(stem) if is_image_name(path) else ()

    return _Attempt(_joined(without, "another extension"), match_stem, dropped)


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _lookups(index: FileIndex, start: str, dropped: int, repair: str = "") -> Iterator[_Attempt]:
    """Yield look-ups of whole paths in the folder of the table, without ``start``."""
    without = f"without {start!r}" if start else ""
    yield _Attempt(
        _joined(without, repair) or "upper and lower case, or the Unicode form",
        lambda path: index.files(path.removeprefix(start)),
        dropped,
    )
    yield _Attempt(
        _joined(without, repair, "extension added"),
        lambda path: index.files_without_extension(path.removeprefix(start)),
        dropped,
    )


def _common_folders(paths: Sequence[str]) -> list[str]:
    """Return the folders that all paths begin with; the first is empty for absolute paths."""
    folders = [path.split("/")[:-1] for path in paths]
    first, last = min(folders, default=[]), max(folders, default=[])
    count = next(
        (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    return first[:count]


def _is_file(folder: Path, path: str) -> bool:
    return os.path.isfile(folder / path)  # noqa: PTH113  (Path.is_file raises on invalid names)
