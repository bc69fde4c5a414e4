"""Sources in object stores: what is copied to this machine, to be read as a local source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tltool.data.decoding.extensions import IMAGE_EXTENSIONS
from tltool.data.sources.archives.archive import is_archive
from tltool.data.sources.remote.object_copies import RemoteObject, copy_objects
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


def check_remote(source: str, *, offline: bool) -> None:
    """Check a source in an object store without a connection.

    Raises:
        UsageError: the address is not valid, or has a password in it.
        EnvironmentProblem: ``offline``, or the packages for this store are not installed.
    """
    place = Place(local_path(source))
    if offline and place.address.scheme != "memory":
        raise EnvironmentProblem(
            f"{source} is read over the network, which is switched off (--offline, TLTOOL_OFFLINE)",
            hint="switch the network on, or download the images and give their folder",
        )
    place.check()


def copy_source(source: str, *, cache: Path, observer: Observer) -> LocalCopy:
    """Return the local copy of a source; of a table without its images.

    Args:
        source: an address, also after ``wds:`` and ``parquet:``; their files may be a pattern.
        cache: folder of all copies.
        observer: receives the progress.

    Raises:
        DataError: there are no such objects, or they change during the download.
        EnvironmentProblem: the store does not answer, or the copy cannot be written.
    """
    if is_sample_source(source):
        return _copy_samples(source, cache, observer)
    address = parse_address(source)
    name = PurePosixPath(address.path).name
    if not _is_file(name):
        place = Place(source)
        stored = _without_large(place.listing(), source, observer)
    else:
        place = place_above(source)
        stored = [one for one in place.listing(name) if one.name == name]
    root = _copied(source, place, stored, cache, observer)
    is_image = Path(name).suffix.lower() in IMAGE_EXTENSIONS
    return LocalCopy(str(root / name if _is_file(name) and not is_image else root), root, place)


def place_above(url: str) -> Place:
    """Return the place in which the object of an address is, under the last part of it."""
    return Place(url.rstrip("/").rpartition("/")[0])


def _copied(
    source: str, place: Place, stored: Sequence[Stored], cache: Path, observer: Observer
) -> Path:
    if not stored:
        raise DataError(
            f"there is no object {source}, and none below it", hint="check the name for a typo"
        )
    objects = [RemoteObject(place, one, one.name) for one in stored]
    return copy_objects(source, objects, cache=cache, observer=observer)


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


def _copy_samples(source: str, cache: Path, observer: Observer) -> LocalCopy:
    """Return the copy of the shards that a source names, with the files that name their classes."""
    location, column = parquet.split_column(local_path(source))
    prefix = source[: len(source) - len(local_path(source))]
    extensions = webdataset.EXTENSIONS if prefix == WDS else parquet.EXTENSIONS
    folder, pattern = _split_pattern(location, extensions)
    place = Place(folder)
    patterns = list(expand_braces(pattern)) if pattern else [f"*{end}" for end in extensions]
    stored = place.listing()
    shards = [one for one in stored if _matches(one.name, patterns, anywhere=not pattern)]
    names = [one for one in stored if PurePosixPath(one.name).name in NAMES_FILES]
    root = _copied(source, place, [*names, *shards] if shards else [], cache, observer)
    local = root / pattern if pattern else root
    return LocalCopy(f"{prefix}{local}" + (f"#{column}" if column else ""), root, place)


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
