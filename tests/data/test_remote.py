"""Sources in object stores: the same images as of a local source, under their addresses."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from tests.conftest import PhotoMaker
from tests.data.test_parquet import image
from tests.data.test_tables import Listener
from tests.data.test_webdataset import samples, tar
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import check_source, read_images, read_source
from tltool.data.sources.remote import object_copies
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.storage.place import Place
from tltool.workflows.split_data import split_data


def upload(folder: Path, address: str) -> str:
    """Copy a folder into a store and return its address."""
    place = Place(address)
    for path in folder.rglob("*"):
        if path.is_file():
            place.write_whole(path.relative_to(folder).as_posix(), path.read_bytes())
    return address


@pytest.fixture
def bucket() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_DATA_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pets(bucket: str) -> str:
    """Address of two classes with three images each, and of other files."""
    place = Place(f"{bucket}/pets")
    for number in range(6):
        label = ("cat", "dog")[number % 2]
        place.write_whole(f"{label}/{number}.png", image(number))
    place.write_whole("README.md", b"text")
    place.write_whole(".hidden", b"")
    return f"{bucket}/pets"


def labels(listing: Listing) -> dict[str, str]:
    return {listing.shown(item): item.label for item in listing.items}


def test_a_folder_in_s3_has_the_digest_and_the_split_of_the_local_one(
    make_photos: PhotoMaker, s3_bucket: str, cache: Path, tmp_path: Path
) -> None:
    local = make_photos(n=5, size=16)
    shutil.copy(next(local.rglob("*.jpg")), local / "loose.jpg")
    there = upload(local, f"s3://{s3_bucket}/some photos")
    listener = Listener()
    results = [split_data(str(local)), split_data(there, observer=listener)]
    assert results[0].catalog.digest() == results[1].catalog.digest()
    assert results[0].split.names == results[1].split.names
    assert results[0].split.groups == results[1].split.groups
    assert any("objects of s3://" in message and "MB" in message for message in listener.messages)
    again = Listener()
    split_data(there, out=tmp_path / "split", observer=again)
    assert not any("downloading" in message for message in again.messages)
    read = [read_source(tmp_path / "split/split.csv", offline=offline) for offline in (False, True)]
    assert all(name.startswith(f"{there}/") for name in labels(read[0]))
    assert labels(read[0]) == labels(read[1])
    assert read[0].columns.given_splits()
    assert len(read_source(there, offline=True).items) == len(read[0].items)


def test_images_have_their_addresses_and_other_files_are_counted(pets: str, cache: Path) -> None:
    listing = read_source(f"{pets}/")
    assert labels(listing) == {
        f"{pets}/{label}/{number}.png": label
        for label, numbers in {"cat": (0, 2, 4), "dog": (1, 3, 5)}.items()
        for number in numbers
    }
    assert (listing.ignored, listing.hidden) == ({".md": 1}, 1)
    single = read_images(f"{pets}/cat/0.png")
    assert labels(single) == {f"{pets}/cat/0.png": ""}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("place", ["there", "here"])
def test_a_table_has_paths_beside_it_and_whole_addresses(
    bucket: str, cache: Path, tmp_path: Path, kind: str, place: str
) -> None:
    Place(bucket).write_whole("tables/a/1.png", image(1))
    Place(bucket).write_whole("elsewhere/2.png", image(2))
    other = f"memory://{uuid.uuid4().hex}"
    Place(other).write_whole("3.png", image(3))
    beside = "a/1.png" if place == "there" else f"{bucket}/tables/a/1.png"
    paths = {beside: "x", f"{bucket}/elsewhere/2.png": "y", f"{other}/3.png": "y"}
    rows = [json.dumps({"path": path, "label": label}) for path, label in paths.items()]
    if kind == "csv":
        rows = ["path,label", *(f"{path},{label}" for path, label in paths.items())]
    (tmp_path / f"data.{kind}").write_text("\n".join(rows))
    source = str(tmp_path / f"data.{kind}")
    if place == "there":
        Place(bucket).write_whole(f"tables/data.{kind}", Path(source).read_bytes())
        source = f"{bucket}/tables/data.{kind}"
    assert check_source(source) is None  # opens no connection
    listing = read_source(source)
    assert labels(listing) == {
        f"{bucket}/tables/a/1.png": "x",
        f"{bucket}/elsewhere/2.png": "y",
        f"{other}/3.png": "y",
    }
    assert all(item.path.is_relative_to(listing.root) for item in listing.items)
    assert listing.source == source


def test_a_missing_object_of_a_table_is_named(bucket: str, cache: Path) -> None:
    rows = f"path,label\na/1.png,x\na/2.png,y\n{bucket}/b/3.png,y\n"
    Place(bucket).write_whole("data.csv", rows.encode())
    Place(bucket).write_whole("a/1.png", image(1))
    with pytest.raises(DataError, match=r"a/2\.png in line 3") as raised:
        read_source(f"{bucket}/data.csv")
    assert f"objects are missing ({bucket}/b/3.png in line 4)" in raised.value.message
    assert str(cache) not in raised.value.message


def test_shards_by_folder_pattern_and_name(bucket: str, cache: Path, tmp_path: Path) -> None:
    for number in range(3):
        tar(tmp_path / f"set/data/train-00{number}.tar", *samples("0", "1"))
    (tmp_path / "set/classnames.txt").write_text("ant\nbee\n")
    table = {"image": [{"bytes": image(n)} for n in range(4)], "label": ["ant", "bee"] * 2}
    parquet.write_table(pyarrow.table(table), tmp_path / "set/x.parquet")
    there = upload(tmp_path / "set", f"{bucket}/set")
    for source, count in {
        f"wds:{there}": 6,
        f"wds:{there}/data/train-{{000..001}}.tar": 4,
        f"wds:{there}/data/*.tar": 6,
        f"wds:{there}/data/train-001.tar": 2,
        f"parquet:{there}": 4,
        f"parquet:{there}/x.parquet#label": 4,
        f"{there}/x.parquet": 4,
    }.items():
        found = labels(read_source(source))
        assert (len(found), set(found.values())) == (count, {"ant", "bee"}), source
        assert all(bucket in name and str(cache) not in name for name in found)
    with pytest.raises(DataError, match=r"train-003\.tar") as raised:
        read_source(f"wds:{there}/data/train-{{000..003}}.tar")
    assert str(cache) not in raised.value.message
    with pytest.raises(DataError, match="there is no object"):
        read_source(f"wds:{there}/data/test-*.tar")


def test_an_archive_and_metadata(pets: str, bucket: str, cache: Path, tmp_path: Path) -> None:
    local = tmp_path / "zoo"
    Place(pets).local_copy(Place(pets).names(), local)
    archive = Path(shutil.make_archive(str(tmp_path / "zoo"), "zip", local))
    Place(bucket).write_whole("zoo.zip", archive.read_bytes())
    assert set(labels(read_source(f"{bucket}/zoo.zip"))) == {
        f"{bucket}/zoo.zip/{name}" for name in Place(pets).names() if name.endswith(".png")
    }
    for number in range(2):
        Place(bucket).write_whole(f"flat/{number}.png", image(number))
    Place(bucket).write_whole("flat/metadata.csv", b"file_name,label\n0.png,a\n1.png,b\n")
    assert labels(read_source(f"{bucket}/flat")) == {
        f"{bucket}/flat/0.png": "a",
        f"{bucket}/flat/1.png": "b",
    }


class Acting(Listener):
    """Does something when the first message or progress with a word comes."""

    def __init__(self, word: str, action: Callable[[], Any]) -> None:
        super().__init__()
        self._word, self._action = word, action

    def on_message(self, text: str, *, level: str = "info") -> None:
        super().on_message(text)
        self._act(text)

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        self._act(f"unit {unit}")

    def _act(self, text: str) -> None:
        if self._word in text:
            self._word = "\0"
            self._action()


def test_an_image_that_changes_during_the_download_is_named(pets: str, cache: Path) -> None:
    change = Acting("downloading", lambda: Place(pets).write_whole("dog/3.png", image(99)))
    with pytest.raises(DataError, match=r"/pets/dog/3\.png has changed while") as raised:
        read_source(pets, observer=change)
    assert raised.value.exit_code == 3
    same_size = next(iter(Place(pets).listing("dog/3.png"))).size
    change = Acting("downloading", lambda: Place(pets).write_whole("dog/3.png", b"x" * same_size))
    with pytest.raises(DataError, match=r"/pets/dog/3\.png has changed while"):
        read_source(pets, observer=change)
    listing = read_source(pets)
    by_name = {item.path.name: item.path.read_bytes() for item in listing.items}
    assert by_name["3.png"] == b"x" * same_size


def test_an_interrupted_download_goes_on_and_damage_is_repaired(
    pets: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_copies, "_AT_ONCE", 3)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_source(pets, observer=Acting("unit objects", interrupt))
    rest = Listener()
    read_source(pets, observer=rest)
    assert "downloading 5 objects" in rest.messages[0]
    Place(pets).write_whole("cat/new.png", image(7))
    damaged = next((cache / "objects").rglob("*.*"))
    damaged.write_bytes(b"damaged")
    one = Listener()
    files = [item.path for item in read_source(pets, observer=one).items]
    assert "downloading 2 objects" in one.messages[0]
    assert len(files) == 7
    assert all(path.read_bytes() != b"damaged" for path in files)


def test_what_cannot_be_copied_is_refused(
    pets: str, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    with pytest.raises(DataError, match=f"there is no object {bucket}/nothing"):
        read_source(f"{bucket}/nothing")
    odd = f"{bucket}/odd/cat\\1.png".removeprefix("memory:/")
    fsspec.get_filesystem_class("memory")().pipe_file(odd, b"")
    with pytest.raises(DataError, match=r"'cat\\\\1\.png' cannot be a file on this machine"):
        read_source(f"{bucket}/odd")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(EnvironmentProblem, match=r"needs .* GB in .*, where 0\.0 GB are free"):
        read_source(pets)


def test_names_that_are_one_file_on_this_disk_are_both_named(
    bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that has no hard links and ignores capital letters."""
    for name in ("cat/A.png", "cat/a.png"):
        Place(f"{bucket}/pets").write_whole(name, image(1))

    def refuse(*_: object) -> None:
        raise PermissionError

    def is_there(path: Path) -> bool:
        return any(one.name.lower() == path.name.lower() for one in path.parent.iterdir())

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os.path, "lexists", is_there)
    with pytest.raises(DataError, match=r"pets/cat/a\.png has the same name .*pets/cat/A\.png"):
        read_source(f"{bucket}/pets")


def test_an_address_that_leads_out_of_the_copies_is_a_missing_object(
    bucket: str, cache: Path
) -> None:
    cache.mkdir()
    (cache.parent / "secret.png").write_bytes(image(1))
    up = "../" * 9 + str(cache.parent / "secret.png").lstrip("/")
    Place(bucket).write_whole("a.png", image(2))
    table = f"path,label\na.png,x\n{bucket}/{up},y\n"
    Place(bucket).write_whole("data.csv", table.encode())
    with pytest.raises(DataError, match="objects are missing"):
        read_source(f"{bucket}/data.csv")


def test_a_wrong_address_or_no_network_is_refused_before_anything_is_opened(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLTOOL_OFFLINE", "1")
    with pytest.raises(UsageError, match="a password or a signature") as raised:
        check_source("s3://me:hidden@bucket/photos")
    assert "hidden" not in str(raised.value)
    for read in (lambda: check_source("s3://b/x"), lambda: read_source("s3://b/x", offline=True)):
        with pytest.raises(EnvironmentProblem, match="the network is switched off"):
            read()
