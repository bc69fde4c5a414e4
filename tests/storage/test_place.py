"""A place is the same for its users on a folder, in memory and on S3."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.s3_server import use_endpoint
from tltool.errors import DataError, EnvironmentProblem, TltoolError, UsageError
from tltool.storage import object_store
from tltool.storage.address import is_file_name, is_object_store, redacted
from tltool.storage.place import Place

KINDS = ("folder", "memory", "s3")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(tmp_path / "a place")
    if request.param == "memory":
        return Place(f"memory://{uuid.uuid4().hex}/runs")
    return Place(f"s3://{request.getfixturevalue('s3_bucket')}/runs/a")


def test_what_is_written_is_read_listed_copied_and_removed(place: Place, tmp_path: Path) -> None:
    assert place.names() == []
    place.write_whole("b/2.txt", b"old")
    place.write_whole("b/2.txt", b"0123456789")
    place.write_whole("a #1?.txt", b"")
    assert place.names() == ["a #1?.txt", "b/2.txt"]
    assert place.names("b/") == place.names("b/2") == ["b/2.txt"]
    assert place.names("c") == place.names("c/d") == []
    assert [stored.size for stored in place.listing()] == [0, 10]
    ranges = [(0, None), (2, 5), (8, 99), (10, None), (20, 30), (4, 4)]
    read = [place.read("b/2.txt", start, stop) for start, stop in ranges]
    assert read == [b"0123456789", b"234", b"89", b"", b"", b""]
    pickle.loads(pickle.dumps(place)).local_copy(place.names(), tmp_path / "copy")
    files = {path.name: path.read_bytes() for path in (tmp_path / "copy").rglob("*.txt")}
    assert files == {"a #1?.txt": b"", "2.txt": b"0123456789"}
    place.remove("b/2.txt")
    place.remove("b/2.txt")
    assert place.names() == ["a #1?.txt"]


def test_of_six_writers_exactly_one_creates_an_object(place: Place) -> None:
    def create(writer: int) -> bool:
        return place.create("shards/0", b"%d" % writer * 100_000)

    place.check_exclusive()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(create, range(6)))
    assert sum(made) == 1
    assert place.read("shards/0") == b"%d" % made.index(True) * 100_000
    assert place.names() == ["shards/0"]


def test_a_store_that_ignores_the_condition_of_a_write_is_refused(monkeypatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    write = MemoryFileSystem.pipe_file
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda *args, mode: write(*args))
    place = Place(f"memory://{uuid.uuid4().hex}")
    with pytest.raises(EnvironmentProblem, match="lets two writers create the same object"):
        place.check_exclusive()
    assert place.names() == []


def test_a_version_changes_with_the_content(place: Place) -> None:
    assert place.info("x") is None
    place.write_whole("x", b"1")

    (before,) = (stored for stored in place.listing("x") if stored.name == "x")
    assert place.info("x") == place.existing(["x"])["x"] == before
    place.write_whole("x", b"2")
    assert place.info("x").version != before.version


def test_a_missing_object_and_an_invalid_name_are_named(place: Place, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no .*runs?.*/gone\.txt|no .*a place/gone\.txt"):
        place.read("gone.txt")
    place.write_whole("here.txt", b"1")
    with pytest.raises(DataError, match=r"gone\.txt"):
        place.local_copy(["here.txt", "gone.txt"], tmp_path / "copy")
    for name in ("../x", "/x", "a//b", "", "a\\b", "n" * 300):
        with pytest.raises(DataError, match="cannot be the name of a file"):
            place.write_whole(name, b"")


def test_a_folder_needs_no_packages_and_a_store_names_them(tmp_path, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("fsspec", "s3fs")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert Place(tmp_path).create("x", b"1")
    with pytest.raises(EnvironmentProblem) as raised:
        Place("gs://bucket/x").names()
    assert raised.value.hint == 'pip install "tltool[gcs]"'


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/x", "'ftp://' is not supported"),
        ("s3:///x", "no valid name of a bucket"),
        ("s3://key:hidden@bucket/x", "a password or a signature"),
        ("s3://key:a/hidden@bucket/x", "a password or a signature"),
        ("s3://key:a/hidden", "a password or a signature"),
        ("s3://bucket/x?X-Amz-Signature=hidden", "a password or a signature"),
    ],
)
def test_a_wrong_address_is_refused_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        Place(url)
    assert "hidden" not in f"{raised.value.message} {raised.value.hint}"


def test_addresses_are_recognised_and_redacted() -> None:
    assert is_object_store("S3a://bucket/x")
    assert not any(map(is_object_store, ("photos", "https://host/x", "C:\\photos", "wds:x")))
    assert redacted("see https://a:b@host/x?sig=1 and s3://bucket/me@home.jpg") == (
        "see https://…@host/x?… and s3://bucket/me@home.jpg"
    )
    assert str(Place("s3a://bucket//x/")) == "s3://bucket/x"
    assert str(Place("file:///tmp/a%20b")) == "/tmp/a b"

    assert redacted("https://me:a/b@c@host/x") == "https://…@host/x"
    assert redacted("https://host:80/me@home") == "https://host:80/me@home"


def test_names_of_windows_are_reserved_there(monkeypatch) -> None:
    names = ("a:b/1.jpg", "C:1.jpg", "aux/1.jpg", "a/NUL.jpg", "a./1.jpg", "what?.jpg")
    assert all(map(is_file_name, names))
    with monkeypatch.context() as context:
        context.setattr(os, "name", "nt")
        assert not any(map(is_file_name, names))
        assert is_file_name("auxiliary/con man.jpg")


def test_only_what_is_asked_for_is_listed(monkeypatch, s3_bucket: str) -> None:
    file_system = pytest.importorskip("s3fs").S3FileSystem
    names = ("train.csv", "train/1.jpg", "val/1.jpg", "val/2.jpg", "test/1.jpg")
    place, listed = Place(f"s3://{s3_bucket}"), []
    for name in names:
        place.write_whole(name, b"1")
    list_objects = file_system._lsdir

    async def spied(self, *args, **options):
        found = await list_objects(self, *args, **options)
        listed.extend(one["name"].partition("/")[2] for one in found)
        return found

    monkeypatch.setattr(file_system, "_lsdir", spied)
    assert place.names("train.csv") == ["train.csv"]
    assert sorted(place.existing(["val/1.jpg", "val/3.jpg", "train/1.jpg"])) == [
        "train/1.jpg", "val/1.jpg",
    ]  # fmt: skip
    assert sorted(listed) == ["train.csv", "train/1.jpg", "val/1.jpg", "val/2.jpg"]
    assert place.info("val/2.jpg").size == 1 and place.existing(["val/2.jpg"])
    assert len(listed) == 4


def test_an_endpoint_that_is_no_address_is_named(monkeypatch) -> None:
    pytest.importorskip("s3fs")
    use_endpoint("localhost:9000", monkeypatch)
    with pytest.raises(EnvironmentProblem, match="Invalid endpoint") as raised:
        Place("s3://bucket/x").names()
    assert "AWS_ENDPOINT_URL" in str(raised.value.hint)


def test_a_bucket_that_does_not_exist_is_named(s3_bucket: str, tmp_path: Path) -> None:
    place = Place("s3://nobody-has-this/x")
    calls = (place.names, lambda: place.read("a"), lambda: place.create("a", b""),
             lambda: place.info("a"))  # fmt: skip
    for call in (*calls, lambda: place.local_copy(["a"], tmp_path)):
        with pytest.raises(EnvironmentProblem, match="no bucket 'nobody-has-this'"):
            call()


@pytest.mark.parametrize("silent", [True, False])
def test_a_store_that_does_not_answer_is_an_error_in_time(monkeypatch, silent: bool) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setattr(object_store, "_FIRST_ANSWER", 1.0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        use_endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", monkeypatch)
        start = time.monotonic()
        with pytest.raises(EnvironmentProblem, match=r"s3://bucket/x does not answer") as raised:
            Place("s3://bucket/x").names()
    assert time.monotonic() - start < 10
    assert "test-secret" not in str(raised.value)


def test_a_key_that_is_not_valid_is_refused(s3_bucket: str, monkeypatch) -> None:
    from botocore.exceptions import NoCredentialsError

    from tltool.storage.store_errors import store_problem

    place = Place(f"s3://{s3_bucket}/x")
    refused = store_problem(PermissionError("Forbidden"), place.address)
    unknown = store_problem(NoCredentialsError(), place.address)
    assert isinstance(refused, TltoolError) and isinstance(unknown, TltoolError)
    assert refused.message == f"access to s3://{s3_bucket}/x is refused: Forbidden"
    assert "no valid credentials" in unknown.message
    assert store_problem(TypeError("a bug"), place.address) is None
