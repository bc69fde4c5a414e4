"""Sources in object stores: what is copied to this machine, to be read as a local source."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tltool.data.decoding.extensions import IMAGE_EXTENSIONS
from tltool.data.sources.archives.archive import is_archive
from tltool.data.sources.remote.object_copies import RemoteObject, copy_objects, last_copy
from tltool.data.sources.sample_sets import parquet, webdataset
from tltool.data.sources.sample_sets.class_list import NAMES_FILES, is_part_name
from tltool.data.sources.sample_sets.sample_sources import is_sample_source
from tltool.data.sources.sample_sets.shards import expand_braces
from tltool.data.sources.tables.table_rows import is_table
from tltool.errors import DataError, EnvironmentProblem, counted
from tltool.events import Observer
from tltool.recipe.source_text import WDS, local_path
from tltool.storage.address import Stored, parse_address
from tltool.storage.place import Place

_LARGEST_OTHER = 64 << 20  # bytes of a file that is neither an image nor a table
_MAGIC = re.compile(r"[*?\[{]")


@dataclass(frozen=True)
class LocalCopy:
    """A source in an object store, and its copy on this machine.

    Attributes:
        source: the copy, as a local source.
        root: the folder of all copied files.
        place: from which they were copied.
    """

    source: str
    root: Path
    place: Place


@dataclass(frozen=True)
class _Plan:
    """How a source is copied.

    Attributes:
        place: of the objects.
        select: lists those that are copied.
        prefix: of the local source, as ``wds:``.
        relative: path of the local source in the folder of the copies.
        suffix: of the local source, as ``#label``.
    """

    place: Place
    select: Callable[[Observer], Sequence[Stored]]
    prefix: str = ""
    relative: str = ""
    suffix: str = ""


def check_remote(source: str, *, offline: bool, cache: Path) -> None:
    """Check a source in an object store without a connection.

    Raises:
        UsageError: the address is not valid, or has a password in it.
        EnvironmentProblem: ``offline`` and there is no copy, or the packages for this store are not
            installed.
    """
    place = Place(local_path(source))
    if offline and place.address.scheme != "memory":
        if last_copy(source, cache=cache) is None:
            raise no_network(source)
    else:
        place.check()


def no_network(source: str) -> EnvironmentProblem:
    """Return the error about a source of which there is no copy, without a network."""
    return EnvironmentProblem(
        "the network is switched off (--offline, TLTOOL_OFFLINE), and there is no copy of"
        f" {source}",
        hint="read it once with a network, as by tltool data check; its copy in the cache is then"
        " used",
    )


def copy_source(source: str, *, cache: Path, offline: bool, observer: Observer) -> LocalCopy:
    """Return the local copy of a source; of a table without its images.

    Args:
        source: an address, also after ``wds:`` and ``parquet:``; their files may be a pattern.
        cache: folder of all copies.
        offline: use the latest copy, without a connection.
        observer: receives the progress.

    Raises:
        DataError: there are no such objects, or they change during the download.
        EnvironmentProblem: the store does not answer, the copy cannot be written, or there is none
            and ``offline`` forbids to make one.
    """
    plan = _plan_samples(source) if is_sample_source(source) else _plan(source)
    if offline and plan.place.address.scheme != "memory":
        root = last_copy(source, cache=cache)
        if root is None:
            raise no_network(source)
        observer.on_message(f"offline: the latest copy of {source} is used")
    else:
        stored = plan.select(observer)
        if not stored:
            raise DataError(
                f"there is no object {source}, and none below it", hint="check the name for a typo"
            )
        objects = [RemoteObject(plan.place, one, one.name) for one in stored]
        root = copy_objects(source, objects, cache=cache, observer=observer)
    local = root / plan.relative if plan.relative else root
    return LocalCopy(f"{plan.prefix}{local}{plan.suffix}", root, plan.place)


def _plan(source: str) -> _Plan:
    """Return the plan for a folder, or for one file that is a source."""
    name = PurePosixPath(parse_address(source).path).name
    if not _is_file(name):
        place = Place(source)
        return _Plan(place, lambda observer: _without_large(place.listing(), source, observer))
    above = place_above(source)
    is_image = Path(name).suffix.lower() in IMAGE_EXTENSIONS
    return _Plan(
        above,
        lambda _: list(filter(None, [above.info(name)])),
        relative="" if is_image else name,
    )


def place_above(url: str) -> Place:
    """Return the place in which the object of an address is, under the last part of it."""
    return Place(url.rstrip("/").rpartition("/")[0])


def _is_file(name: str) -> bool:
    """Return whether a name is that of a file which is a source; others are folders."""
    path = Path(name)
    return is_table(path) or is_archive(path) or path.suffix.lower() in IMAGE_EXTENSIONS


def _without_large(stored: Sequence[Stored], source: str, observer: Observer) -> list[Stored]:
    """Return the objects without very large ones that are no images, such as films and models."""
    kept = [one for one in stored if one.size <= _LARGEST_OTHER or _is_file(one.name)]
    if len(kept) < len(stored):
        left_out = counted(len(stored) - len(kept), "large object", "large objects")
        observer.on_message(f"{left_out} of {source} that are no images are not downloaded")
    return kept


def _plan_samples(source: str) -> _Plan:
    """Return the plan for the shards that a source names, and the names of their classes."""
    location, column = parquet.split_column(local_path(source))
    prefix = source[: len(source) - len(local_path(source))]
    extensions = webdataset.EXTENSIONS if prefix == WDS else parquet.EXTENSIONS
    folder, pattern = _split_pattern(location, extensions)
    place = Place(folder)
    patterns = list(expand_braces(pattern)) if pattern else [f"*{end}" for end in extensions]

    def select(_: Observer) -> Sequence[Stored]:
        stored = place.listing()
        shards = [one for one in stored if _matches(one.name, patterns, anywhere=not pattern)]
        names = [one for one in stored if PurePosixPath(one.name).name in NAMES_FILES]
        return [*names, *shards] if shards else []

    suffix = f"#{column}" if column else ""
    return _Plan(place, select, prefix=prefix, relative=pattern, suffix=suffix)


def _split_pattern(location: str, extensions: tuple[str, ...]) -> tuple[str, str]:
    """Return the address of a folder, and the pattern or the name of the files in it."""
    magic = _MAGIC.search(location)
    if magic is None and not location.lower().endswith(extensions):
        return location, ""
    end = magic.start() if magic else len(location)
    folder = location[:end].rpartition("/")[0]
    above, _, name = folder.rpartition("/")
    if is_part_name(name) and not above.endswith("/"):  # the names of the classes are above it
        folder = above
    return folder, location[len(folder) + 1 :]


def _matches(name: str, patterns: Sequence[str], *, anywhere: bool) -> bool:
    if anywhere:
        return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
    depth = name.count("/")
    return any(pattern.count("/") == depth and fnmatchcase(name, pattern) for pattern in patterns)
