"""Copies the images of a table from object stores: paths beside the table, or whole addresses."""

from __future__ import annotations

import mmap
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.data.sources.remote.object_copies import RemoteObject, copy_objects, last_copy
from tltool.data.sources.remote.remote_source import no_network
from tltool.data.sources.tables.path_spelling import cleaned
from tltool.data.sources.tables.table_rows import Table, open_table
from tltool.events import Observer
from tltool.storage.address import Address, Stored, is_file_name, is_object_store, parse_address
from tltool.storage.place import Place

_ELSEWHERE = "other places"
# JSON may escape a slash
_ADDRESS = re.compile(rb"(?i)\b(s3[an]?|gs|gcs|az|abfss?|memory):(\\?/){2}")


@dataclass(frozen=True)
class TableCopy:
    """A table, and copies of its images.

    Attributes:
        table: the file.
        root: folder of the copies; None without any.
        files: paths as they are written in the table to the paths of the copies.
        addresses: folders of copies to the address of their objects.
    """

    table: Path
    root: Path | None
    files: Mapping[str, str]
    addresses: tuple[tuple[Path, str], ...]

    def localized(self, table: Table) -> Table:
        """Return a table whose paths are those of the copies."""
        return replace(table, rows=self._rows(table))

    def _rows(self, table: Table) -> Iterator[tuple[int, list[str] | Mapping[str, str]]]:
        column = table.columns.index("path") if "path" in table.columns else None
        for line, row in table.rows:
            if isinstance(row, Mapping):
                path = row.get("path", "")
                yield line, {**row, "path": self.files.get(path, path)} if path else row
            elif column is None:
                yield line, row
            else:
                cells = list(row)
                cells[column] = self.files.get(cells[column], cells[column])
                yield line, cells

    def named(self, listing: Listing) -> Listing:
        """Return a listing that shows the addresses of the images, not their copies."""
        if self.root is None:
            return listing
        all_copied = all(item.path.is_relative_to(self.root) for item in listing.items)
        root = self.root if all_copied else listing.root
        return replace(listing, root=root, addresses=self.addresses)


def has_addresses(table: Path) -> bool:
    """Return whether a table may have addresses of objects in it; it is not parsed."""
    with table.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _ADDRESS.search(data) is not None


def copy_images(
    table: Path, home: Place | None, *, cache: Path, offline: bool, observer: Observer
) -> TableCopy:
    """Return a table whose images in object stores are copied to the cache.

    Args:
        table: a file on this machine.
        home: the place of the table; paths are relative to it. None for a table of this machine.
        cache: folder of all copies.
        offline: use the latest copies, without a connection.
        observer: receives the progress.

    Raises:
        DataError: the table is not valid, or an object changes during the download.
        EnvironmentProblem: a store does not answer, the copies cannot be written, or there are none
            and ``offline`` forbids to make them.
    """
    found = ((text, _address_of(text, home)) for text in _paths(table))
    addresses = {text: address for text, address in found if address is not None}
    name = f"the images of {f'{home}/{table.name}' if home is not None else table.absolute()}"
    if not addresses:
        return TableCopy(table, None, {}, ())
    if offline and any(one.scheme != "memory" for one in addresses.values()):
        root = last_copy(name, cache=cache)
        if root is None:
            raise no_network(name)
    else:
        objects = _listed(set(addresses.values()), home)
        if not objects:
            return TableCopy(table, None, {}, ())
        if home is not None:
            objects += [RemoteObject(home, one, one.name) for one in _itself(table, home)]
        root = copy_objects(name, objects, cache=cache, observer=observer)
    return _table_copy(table, root, addresses, home)


def _table_copy(
    table: Path, root: Path, addresses: Mapping[str, Address], home: Place | None
) -> TableCopy:
    named = {text: _target(address, home) for text, address in addresses.items()}
    targets = {text: root / name for text, name in named.items() if is_file_name(name)}
    files = {text: str(target) for text, target in targets.items() if target.is_file()}
    buckets = sorted({(one.scheme, one.bucket) for one in addresses.values()})
    copies = [
        (root / _ELSEWHERE / scheme / bucket, f"{scheme}://{bucket}") for scheme, bucket in buckets
    ]
    if home is None:
        return TableCopy(table, root, files, tuple(copies))
    return TableCopy(root / table.name, root, files, (*copies, (root, str(home))))


def _paths(table: Path) -> Iterator[str]:
    """Yield the paths as they are written, those that are empty excepted."""
    with open_table(table) as opened:
        column = opened.columns.index("path") if "path" in opened.columns else None
        for _, row in opened.rows:
            if isinstance(row, Mapping):
                text = row.get("path", "")
            else:
                text = row[column] if column is not None else ""
            if text:
                yield text


def _address_of(text: str, home: Place | None) -> Address | None:
    """Return the address of the object that a path means; None for a file of this machine.

    Raises:
        UsageError: the address has a password or a signature in it.
    """
    path = cleaned(text)
    if is_object_store(path):
        return parse_address(path)
    if home is None or path.startswith("/"):
        return None
    key = posixpath.normpath(posixpath.join(home.address.path, path))
    return None if key.startswith("../") else replace(home.address, path=key)


def _listed(addresses: set[Address], home: Place | None) -> list[RemoteObject]:
    """Return those of the objects that exist, with one listing of each folder."""
    buckets: dict[Address, set[str]] = defaultdict(set)
    for address in addresses:
        buckets[replace(address, path="")].add(address.path)
    found = []
    for bucket, keys in buckets.items():
        place = Place(str(bucket))
        for stored in place.existing(keys).values():
            target = _target(replace(bucket, path=stored.name), home)
            found.append(RemoteObject(place, stored, target))
    return sorted(found, key=lambda one: one.target)


def _itself(table: Path, home: Place) -> Iterator[Stored]:
    return filter(None, [home.info(table.name)])


def _target(address: Address, home: Place | None) -> str:
    """Return the path of a copy: as beside the table, or else below its bucket."""
    if home is not None and (address.scheme, address.bucket) == (
        home.address.scheme,
        home.address.bucket,
    ):
        start = f"{home.address.path}/" if home.address.path else ""
        if address.path.startswith(start):
            return address.path[len(start) :]
    return f"{_ELSEWHERE}/{address.scheme}/{address.bucket}/{address.path}"
