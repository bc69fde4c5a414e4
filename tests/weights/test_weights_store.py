"""The store keeps one intact file and its sidecar, or reports what is wrong."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tltool.errors import EnvironmentProblem
from tltool.runs.digests import file_digest
from tltool.weights import weights_store


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


def put(
    tmp_path: Path, content: bytes = b"weights", name: str = "net"
) -> weights_store.StoredWeights:
    file = tmp_path / "download.h5"
    file.write_bytes(content)
    return weights_store.add(name, file, source="a test", licence="MIT")


def test_added_weights_are_listed_with_their_sidecar(tmp_path: Path, home: Path) -> None:
    added = put(tmp_path)
    assert weights_store.find("net") == added
    assert added.path.read_bytes() == b"weights"
    sidecar = json.loads((home / "net.json").read_text())
    assert sidecar["sha256"] == file_digest(added.path)
    assert {"source", "licence", "date", "size", "file"} <= set(sidecar)


def test_the_store_can_be_moved_as_a_folder(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path)
    home.rename(tmp_path / "copied")
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "copied"))
    found = weights_store.find("net")
    assert found is not None and found.path.read_bytes() == b"weights"


def test_nothing_stored_is_none_and_an_empty_listing() -> None:
    assert weights_store.find("net") is None
    assert weights_store.listing() == ()


def test_adding_again_replaces_and_leaves_one_file(tmp_path: Path, home: Path) -> None:
    put(tmp_path, b"old")
    put(tmp_path, b"new")
    assert [w.path.read_bytes() for w in weights_store.listing()] == [b"new"]
    assert len([path for path in home.iterdir() if path.name != ".lock"]) == 2


def test_a_name_that_begins_like_another_is_left_alone(tmp_path: Path) -> None:
    longer = put(tmp_path, b"longer", name="net-2")
    put(tmp_path, b"short", name="net")
    assert weights_store.find("net-2") == longer


def test_a_truncated_file_is_detected_by_size(tmp_path: Path) -> None:
    stored = put(tmp_path)
    stored.path.write_bytes(b"weig")
    with pytest.raises(EnvironmentProblem, match="damaged") as caught:
        weights_store.find("net")
    assert "tltool weights pull net" in str(caught.value.hint)
    assert weights_store.listing() == ()


def test_a_changed_byte_is_detected_by_verify(tmp_path: Path) -> None:
    stored = put(tmp_path)
    stored.path.write_bytes(b"weightz")
    assert weights_store.find("net") == stored
    with pytest.raises(EnvironmentProblem, match="damaged"):
        weights_store.verify(stored)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "net"}', "{"])
def test_a_damaged_sidecar_is_a_clear_error(text: str, tmp_path: Path, home: Path) -> None:
    put(tmp_path)
    (home / "net.json").write_text(text)
    with pytest.raises(EnvironmentProblem, match="damaged"):
        weights_store.find("net")


def test_an_interrupted_add_leaves_the_old_weights_and_nothing_else(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put(tmp_path, b"old")
    listed = sorted(home.iterdir())

    def interrupt(path: Path, algorithm: str = "sha256") -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights_store, "file_digest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path, b"new")
    assert sorted(home.iterdir()) == listed
    assert weights_store.find("net") == old


def test_a_folder_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "file" / "store"))
    with pytest.raises(EnvironmentProblem, match="cannot be stored"):
        put(tmp_path)


def add_all(tmp_path: Path, rounds: int = 8) -> list[weights_store.StoredWeights]:
    """Add different weights under one name from several threads at once."""

    def add(number: int) -> list[weights_store.StoredWeights]:
        file = tmp_path / f"{number}.h5"
        file.write_bytes(bytes([number]) * 5000)
        return [
            weights_store.add("net", file, source=str(number), licence="MIT") for _ in range(rounds)
        ]

    with ThreadPoolExecutor(6) as pool:
        return [stored for added in pool.map(add, range(6)) for stored in added]


def test_processes_that_add_weights_at_once_leave_one_whole_pair(
    tmp_path: Path, home: Path
) -> None:
    added = add_all(tmp_path)
    stored = weights_store.find("net")
    assert stored in added
    assert stored is not None
    weights_store.verify(stored)
    assert {path.name for path in home.iterdir()} == {".lock", "net.json", stored.path.name}


def test_on_a_disk_without_locks_no_file_of_another_process_is_removed(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    added = add_all(tmp_path, rounds=2)
    assert all(stored.path.is_file() for stored in added)
    stored = weights_store.find("net")
    assert stored is not None
    weights_store.verify(stored)


def test_weights_that_are_replaced_while_they_are_looked_up_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, b"old")
    read = weights_store._read_sidecar

    def replaced_after(name: str) -> weights_store.StoredWeights | None:
        old = read(name)
        monkeypatch.setattr(weights_store, "_read_sidecar", read)
        put(tmp_path, b"newer")
        return old

    monkeypatch.setattr(weights_store, "_read_sidecar", replaced_after)
    found = weights_store.find("net")
    assert found is not None and found.path.read_bytes() == b"newer"


def test_weights_that_vanish_before_their_digest_is_compared_are_damaged(tmp_path: Path) -> None:
    stored = put(tmp_path)
    stored.path.unlink()
    with pytest.raises(EnvironmentProblem, match="damaged"):
        weights_store.verify(stored)
