"""Versions that appear, disappear and are damaged while a server runs."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.half_plus import half_plus
from tests.serving.live_server import Live, serving, versions_of
from tltool.errors import DataError
from tltool.serving import repository
from tltool.serving.served_model import ServedModel, load_version
from tltool.serving.settings import Settings

SETTINGS = Settings(drain_seconds=0.0, poll_seconds=0.05)
WEIGHTS = Path("variables") / "variables.data-00000-of-00001"


@pytest.fixture
def half(tmp_path: Path) -> Iterator[Live]:
    """A server of y = x / 2 + 2, version 123."""
    half_plus(2.0, tmp_path / "half")
    with serving(versions_of(tmp_path / "half", "half"), SETTINGS) as running:
        yield running


def appear(folder: Path) -> None:
    """Move a complete version folder into place, as an export does."""
    folder.replace(folder.parent / "half" / folder.name)


def states(live: Live) -> list[tuple[str, str]]:
    document = live.get("/v1/models/half").json["model_version_status"]
    return [(one["version"], one["state"]) for one in document]


def predictions(live: Live, where: str = "") -> list[float]:
    return live.predict({"instances": [1.0]}, where).json["predictions"]


def test_a_new_version_replaces_the_old_one_and_no_request_fails(half, tmp_path):
    answers, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(half.predict({"instances": [1.0]}))

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    appear(half_plus(3.0, tmp_path, version=124))
    half.wait_for("version 124 is now served")
    assert predictions(half) == [3.5]
    stop.set()
    for thread in asking:
        thread.join()
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["predictions"][0] for answer in answers} == {2.5, 3.5}
    assert half.predict({"instances": [1.0]}, "/versions/123").status == 404
    assert states(half) == [("124", "AVAILABLE"), ("123", "END")]


def test_the_newest_version_is_the_highest_number(half, tmp_path):
    appear(half_plus(3.0, tmp_path, version=1000))
    half.wait_for("version 1000 is now served")
    appear(half_plus(4.0, tmp_path, version=999))
    assert predictions(half) == [3.5]
    assert predictions(half, "/versions/1000") == [3.5]


def test_a_damaged_version_is_rejected_and_the_old_one_stays(half, tmp_path):
    folder = half_plus(3.0, tmp_path, version=124)
    (folder / WEIGHTS).write_bytes(b"")
    appear(folder)
    half.wait_for("version 124 is not served")
    assert predictions(half) == [2.5]
    assert states(half) == [("124", "END"), ("123", "AVAILABLE")]
    (message,) = [one for one in half.messages if "version 124" in one]
    assert "damaged or incomplete" in message
    status = half.get("/v1/models/half/versions/124").json["model_version_status"][0]["status"]
    assert status["error_code"] != "OK"
    assert str(tmp_path) not in status["error_message"]
    assert half.get("/readyz").json["version"] == "123"


def test_a_damaged_version_that_is_repaired_is_served(half, tmp_path):
    folder = half_plus(3.0, tmp_path, version=124)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(b"")
    appear(folder)
    half.wait_for("version 124 is not served")
    (tmp_path / "half" / "124" / WEIGHTS).write_bytes(whole)
    half.wait_for("version 124 is now served")
    assert predictions(half) == [3.5]


def test_a_version_that_is_completed_while_it_is_read_is_served(half, tmp_path, monkeypatch):
    folder = half_plus(3.0, tmp_path, version=124)
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).unlink()

    def reading(name: str, version: int, path: Path) -> ServedModel:
        (path / WEIGHTS).write_bytes(whole)  # the copy ends just now
        monkeypatch.undo()
        raise DataError("it is incomplete")

    monkeypatch.setattr(repository, "load_version", reading)
    appear(folder)
    half.wait_for("version 124 is now served")
    assert predictions(half) == [3.5]


def test_an_unexpected_error_rejects_the_version_once(half, tmp_path, monkeypatch):
    def fail(name: str, version: int, path: Path) -> ServedModel:
        raise PermissionError("no permission")

    monkeypatch.setattr(repository, "load_version", fail)
    appear(half_plus(3.0, tmp_path, version=124))
    half.wait_for("version 124 is not served")
    time.sleep(0.3)
    assert len([one for one in half.messages if "124" in one]) == 1
    assert predictions(half) == [2.5]


def test_a_version_whose_folder_is_removed_is_still_served(half, tmp_path):
    shutil.rmtree(tmp_path / "half" / "123")
    assert predictions(half) == [2.5]
    appear(half_plus(3.0, tmp_path, version=124))
    half.wait_for("version 124 is now served")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "other bytes": lambda content: bytes(255 - one for one in content),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", str(WEIGHTS)])
def test_a_damaged_model_is_an_error_in_one_sentence(tmp_path, name, damage):
    folder = half_plus(2.0, tmp_path)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(DataError, match="cannot be loaded"):
        load_version("half", 123, folder)
