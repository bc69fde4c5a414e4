"""The saved state of a run: whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import small_manifest
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.runs import state as state_module
from tltool.runs.lock import is_locked, locked
from tltool.runs.manifest import read_manifest, write_manifest
from tltool.runs.run_options import RunOptions
from tltool.runs.state import RunState, StateFolder
from tltool.storage.durable import write_durably


def state_of(number: int) -> RunState:
    arrays = {"a/0": np.full((3, 2), number, np.float32), "a/1": np.array(number)}
    return RunState({"epoch": number, "lowest": math.inf}, arrays)


def saved(folder: Path, *numbers: int) -> StateFolder:
    states = StateFolder(folder)
    for number in numbers:
        states.save(state_of(number))
    states.wait()
    return states


def check(found: RunState | None, number: int) -> None:
    assert found is not None
    assert found.document == {"epoch": number, "lowest": math.inf}
    np.testing.assert_array_equal(found.arrays["a/0"], state_of(number).arrays["a/0"])
    assert found.arrays["a/1"] == number


def test_the_newest_state_comes_back_and_only_the_one_before_it_is_kept(tmp_path):
    states = saved(tmp_path / "state", 1, 2, 3, 4)
    check(states.load(), 4)
    assert not states.damaged
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert names == ["state-000003.npz", "state-000004.npz"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "text", "huge", "json"])
def test_a_damaged_state_falls_back_to_the_one_before_it(tmp_path, damage):
    saved(tmp_path, 1, 2)
    newest = tmp_path / "state-000002.npz"
    content = newest.read_bytes()
    if damage == "json":
        np.savez(newest, document=np.frombuffer(b"[" * 100_000, np.uint8))
    elif damage == "huge":  # the header of an array claims 16 TB
        newest.write_bytes(
            content.replace(b"(3, 2), }" + b" " * 12, b"(3, 999999999999), }" + b" ")
        )
    else:
        changed = content.replace(b"\x00\x00\x00@", b"\x00\x00\x00A", 1)
        kinds = {"empty": b"", "truncated": content[:-30], "flipped": changed, "text": b"state"}
        newest.write_bytes(kinds[damage])
    assert newest.read_bytes() != content
    states = StateFolder(tmp_path)
    check(states.load(), 1)
    assert states.damaged == (newest,)


def test_no_state_is_none(tmp_path):
    assert StateFolder(tmp_path / "state").load() is None


@pytest.mark.parametrize("moment", ["write", "fsync", "replace", "unlink"])
def test_a_power_cut_at_any_moment_leaves_a_whole_state(tmp_path, moment):
    """The process ends at once in the middle of the second ``save``."""
    program = f"""
import os, sys
import numpy as np
from pathlib import Path
from tltool.runs import state
from tests.runs.test_state import saved, state_of
states = saved(Path(sys.argv[1]), 1)
def cut(*_, **__): os._exit(9)
moment = {moment!r}
if moment == "write":
    whole = np.savez
    def half(file, **kw): file.write(b"PK" + bytes(50)); file.flush(); os._exit(9)
    state.np.savez = half
elif moment == "fsync": os.fsync = cut
elif moment == "replace": Path.replace = cut
else:
    states.save(state_of(2))
    states.wait()
    Path.unlink = cut
states.save(state_of(2))
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state")], cwd=root, check=False
    )
    assert ended.returncode == 9
    check(StateFolder(tmp_path / "state").load(), 2 if moment == "unlink" else 1)
    check(saved(tmp_path / "state", 5).load(), 5)


def test_a_full_disk_keeps_the_state_before_and_says_what_to_do(tmp_path, monkeypatch):
    states = saved(tmp_path / "state", 1)

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    states.save(state_of(2))
    with pytest.raises(EnvironmentProblem, match="no room") as caught:
        states.wait()
    assert caught.value.exit_code == 5
    check(states.load(), 1)


def test_a_damaged_newest_state_falls_back_to_an_older_one(tmp_path):
    states = saved(tmp_path / "state", 1)
    (tmp_path / "state" / "state-000009.npz").write_bytes(b"PK half")
    check(states.load(), 1)


def test_only_damaged_states_are_an_error(tmp_path):
    (tmp_path / "state-000001.npz").write_bytes(b"half")
    with pytest.raises(DataError, match=r"saved state .* cannot be read"):
        StateFolder(tmp_path).load()


def test_a_state_of_a_newer_tltool_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(state_module, "FORMAT", 2)
    saved(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(DataError, match="another version"):
        StateFolder(tmp_path).load()


def test_a_run_is_locked_while_it_is_worked_on(tmp_path):
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(UsageError, match=str(os.getpid())), locked(tmp_path):
            pass
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from tltool.runs.lock import locked\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert not is_locked(tmp_path)


def test_a_manifest_comes_back(tmp_path):
    options = RunOptions(
        "/käse",
        test="/test",
        saved_models=tmp_path,
        weights=tmp_path / "weights.h5",
        track=("mlflow",),
        register="ants",
    )
    manifest = small_manifest(options=options, seconds={"audit": 0.1}, cached=False)
    write_manifest(tmp_path / "manifest.json", manifest)
    assert read_manifest(tmp_path / "manifest.json") == manifest


@pytest.mark.parametrize("changes", [{"status": None}, {"unknown": 1}, {"options": {}}])
def test_a_manifest_of_other_keys_is_refused(tmp_path, changes):
    path = tmp_path / "manifest.json"
    write_manifest(path, small_manifest())
    document = {**json.loads(path.read_text()), **changes}
    document = {key: value for key, value in document.items() if value is not None}
    del document["manifest_digest"]
    text = json.dumps(document, sort_keys=True)
    document["manifest_digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="is no manifest of a run"):
        read_manifest(path)


def test_a_manifest_edited_by_hand_is_refused(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(path, small_manifest(seed=1))
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(DataError, match="changed after the run wrote it"):
        read_manifest(path)


@pytest.mark.parametrize("text", ["", "[1]", "null", "{"])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="manifest"):
        read_manifest(tmp_path / "manifest.json")


def test_a_manifest_of_a_later_format_names_its_writer(tmp_path):
    document = {"format": 2, "versions": {"tltool": "9.1"}}
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path / "manifest.json")
    assert "9.1" in str(caught.value.hint)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_durably(path, b"before")

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_durably(path, b"after")
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_training_goes_on_while_a_state_is_written(tmp_path, monkeypatch):
    disk, savez = threading.Event(), np.savez

    def slow(*args, **arrays):
        assert disk.wait(20)
        savez(*args, **arrays)

    states = saved(tmp_path, 1)
    monkeypatch.setattr(np, "savez", slow)
    numbers = {"epoch": 2, "lowest": math.inf}
    states.save(RunState(numbers, state_of(2).arrays))  # returns, although nothing is written
    numbers["epoch"] = 3  # what is saved is what was handed over
    check(StateFolder(tmp_path).load(), 1)
    disk.set()
    check(states.load(), 2)
    assert len(list(tmp_path.iterdir())) == 2
