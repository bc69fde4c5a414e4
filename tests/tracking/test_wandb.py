"""Weights & Biases in its offline mode, read back from the file that `wandb sync` uploads."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import SilentObserver
from tltool.runs.layout import RunLayout
from tltool.tracking.observer import check_trackers, tracked


@pytest.fixture(autouse=True)
def _no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "MODE", "PROJECT", "DIR", "BASE_URL"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.delenv("TLTOOL_OFFLINE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "wandb-files"))


def records_of(run: RunLayout) -> list[Any]:
    """Return the records of all parts of the run."""
    paths = sorted((run.folder / "wandb").glob("offline-run-*/run-*.wandb"))
    return [record for path in paths for record in finished_part(path)]


def finished_part(path: Path) -> list[Any]:
    """Return the records of one part, when its last one is there.

    The service of wandb writes them a moment after ``finish`` has returned.
    """
    from wandb.proto import wandb_internal_pb2

    for _ in range(600):
        records = [
            wandb_internal_pb2.Record.FromString(data) for data in log_records(path.read_bytes())
        ]
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        time.sleep(0.1)
    raise AssertionError(f"{path} has no last record")


def log_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file in LevelDB's log format, which wandb's files have.

    Blocks of 32 KiB contain parts of records: checksum, length, and whether more parts follow.
    """
    position, record = 7, b""  # after the header of the file
    while position + 7 <= len(content):
        left = 2**15 - position % 2**15
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def history_of(run: RunLayout) -> list[dict[str, Any]]:
    rows = []
    for record in records_of(run):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append(
                {one.key or ".".join(one.nested_key): json.loads(one.value_json) for one in items}
            )
    return rows


def train(run: RunLayout, epochs: range) -> None:
    warnings: list[str] = []

    class Recording(SilentObserver):
        def on_message(self, text, *, level="info"):
            warnings.append(text)

    with tracked(run, Recording(), tensorboard=False, track=["wandb"], offline=True) as observer:
        observer.on_phase("head")
        for epoch in epochs:
            observer.on_epoch(epoch, 9, {"loss": 1 / epoch})
    assert warnings == []


def test_epochs_results_and_settings_are_recorded_offline(run: RunLayout):
    run.metrics.write_text(json.dumps({"accuracy": {"value": 0.5, "low": 0.1}}))
    run.plots.mkdir()
    Image.new("RGB", (8, 8)).save(run.plots / "curves.png")
    train(run, range(1, 4))
    rows = [row for row in history_of(run) if "head/loss" in row]
    assert [(row["head/epoch"], row["head/loss"]) for row in rows] == [(1, 1), (2, 0.5), (3, 1 / 3)]
    text = b"".join(record.SerializeToString() for record in records_of(run)).decode("latin-1")
    for expected in ("final/accuracy_low", "plots/curves", "label_smoothing", "recipe.yaml"):
        assert expected in text
    state = json.loads((run.folder / "wandb.json").read_text())
    assert state["project"] == "tltool"
    assert state["epochs"] == {"head": 3}


def test_a_resumed_run_continues_the_same_run_and_repeats_no_epoch(run: RunLayout):
    train(run, range(1, 4))
    first = json.loads((run.folder / "wandb.json").read_text())["run_id"]
    train(run, range(2, 6))
    assert json.loads((run.folder / "wandb.json").read_text())["run_id"] == first
    epochs = [row["head/epoch"] for row in history_of(run) if "head/loss" in row]
    assert epochs == [1, 2, 3, 4, 5]
    ids = {one.run.run_id for one in records_of(run) if one.WhichOneof("record_type") == "run"}
    assert ids == {first}


def test_without_an_account_the_error_names_both_ways(monkeypatch: pytest.MonkeyPatch, tmp_path):
    with pytest.raises(UsageError, match="no API key") as problem:
        check_trackers(["wandb"], offline=False)
    hint = str(problem.value.hint)
    assert "wandb login" in hint
    assert "WANDB_MODE=offline" in hint
    check_trackers(["wandb"], offline=True)
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    check_trackers(["wandb"], offline=False)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    with pytest.raises(UsageError):
        check_trackers(["wandb"], offline=False)
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_API_KEY", "x"), ("TLTOOL_OFFLINE", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            check_trackers(["wandb"], offline=False)


def test_a_folder_of_runs_is_not_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path):
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(EnvironmentProblem) as problem:
        check_trackers(["wandb"], offline=True)
    assert problem.value.hint is not None and "wandb" in problem.value.hint
