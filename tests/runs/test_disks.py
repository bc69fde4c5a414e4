"""Disks that cannot do everything, and files that a kill or an error leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from tltool.errors import EnvironmentProblem, UsageError
from tltool.features.feature_store import reserve
from tltool.runs.disk_support import describe_missing
from tltool.runs.layout import check_unused
from tltool.runs.lock import is_locked, locked, waiting_lock
from tltool.storage.durable import flush, new_file, remove_unfinished, replaced_file, write_durably

FSYNC = os.fsync


def refuse(code: int, *, folders: bool):
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folders:
            raise OSError(code, os.strerror(code))
        FSYNC(descriptor)

    return fsync


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
def test_a_disk_without_fsync_of_folders_is_written_to(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "fsync", refuse(code, folders=True))
    write_durably(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_an_error(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "fsync", refuse(code, folders=True))
    with pytest.raises(OSError, match=os.strerror(code)):
        flush(tmp_path)


def test_a_file_that_does_not_reach_the_disk_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL, folders=False))
    with pytest.raises(OSError, match="Invalid"):
        write_durably(tmp_path / "x", b"content")


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_what_a_disk_lacks_is_described_once(tmp_path, monkeypatch):
    with locked(tmp_path):
        assert describe_missing(tmp_path) == ""
        monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL, folders=True))
        assert "has no fsync of folders" in describe_missing(tmp_path)
        monkeypatch.setattr(fcntl, "flock", no_locks)
        text = describe_missing(tmp_path)
    assert text.startswith(f"the disk of '{tmp_path}' has no file locks: do not work on this run")
    assert "; and no fsync of folders: after a power cut" in text


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF])
def test_a_disk_without_locks_is_used(tmp_path, monkeypatch, code):
    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    with locked(tmp_path), waiting_lock(tmp_path) as alone:
        assert not alone
    assert not is_locked(tmp_path)


def test_a_run_folder_that_cannot_be_locked_is_one_sentence(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(EnvironmentProblem, match=r"\.lock' cannot be opened"), locked(tmp_path):
        pass


def test_a_lock_that_may_not_be_read_counts_as_held(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()

    def denied(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", denied)
    assert is_locked(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="broken"), replaced_file(path) as part:
        part.write_text("half")
        raise OSError("broken")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    with replaced_file(link) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    link = tmp_path / "out"
    link.symlink_to("/dev/null")
    write_durably(link, b"content")
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()
    assert list(tmp_path.iterdir()) == [link]


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    old, young = (tmp_path / f".{digit * 32}.new.csv" for digit in "ab")
    mine = tmp_path / ".mine.new.csv"
    for path in (old, young, mine):
        path.write_text("half")
    os.utime(old, (0, 0))
    with new_file(tmp_path / "x.csv") as part:
        part.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"x.csv", young.name, mine.name}
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"x.csv", mine.name}


def test_the_folder_of_a_run_that_was_killed_at_its_start_is_unused(tmp_path):
    (tmp_path / f".{'a' * 32}.new.yaml").write_text("half")
    check_unused(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="not empty"):
        check_unused(tmp_path)  # it may be of another program
    (tmp_path / ".lock").write_text("1")
    check_unused(tmp_path)
    (tmp_path / "recipe.yaml").write_text("seed: 1")
    with pytest.raises(UsageError, match="not empty"):
        check_unused(tmp_path)


def no_blocks(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def test_a_disk_that_reserves_no_blocks_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", no_blocks)
    reserve(tmp_path / "rows", 5000)
    assert (tmp_path / "rows").stat().st_size == 5000


def test_a_full_disk_that_reserves_no_blocks_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", no_blocks)
    free = os.fstatvfs
    monkeypatch.setattr(os, "fstatvfs", lambda file: Full(free(file)))
    with pytest.raises(EnvironmentProblem, match="no space"):
        reserve(tmp_path / "rows", 5000)
    assert not (tmp_path / "rows").exists()


class Full:
    f_bavail = 1

    def __init__(self, real: os.statvfs_result) -> None:
        self.f_frsize = min(real.f_frsize, 4096)
