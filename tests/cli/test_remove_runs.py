"""tltool runs rm and prune: free what runs hold, and never touch anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import small_manifest
from tltool.runs.lock import locked
from tltool.runs.manifest import write_manifest

Tltool = Callable[..., Any]


def write_run(folder: Path, accuracy: float | None = None, **known: object) -> Path:
    folder.mkdir(parents=True)
    write_manifest(folder / "manifest.json", small_manifest(**known))
    (folder / "corrections.csv").touch()
    (folder / "cache" / "0123" / "shards").mkdir(parents=True)
    (folder / "cache" / "0123" / "shards" / "000001.shard").touch()  # its workers were killed
    (folder / "plots").mkdir()
    (folder / "plots" / "history.png").write_bytes(b"x" * 1000)
    (folder / "tensorboard" / "train").mkdir(parents=True)
    (folder / "tensorboard" / "train" / "events.out.tfevents.1.v2").touch()
    if accuracy is not None:
        metrics = {"validation": {"val_accuracy": accuracy, "val_loss": 0.5}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rm_removes_the_runs_named_and_nothing_else(tltool: Tltool, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    one, two, _ = (write_run(runs / name) for name in ("one", "two", "three"))
    result = tltool("runs", "rm", one, two, "--yes")
    assert result.exit_code == 0 and "removed 2 runs, 4 kB" in result.stdout
    assert names(runs) == ["three"]


def test_nothing_is_removed_without_an_answer(tltool: Tltool, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    result = tltool("runs", "rm", run)
    assert result.exit_code == 2 and "--yes" in result.stderr
    assert (run / "plots" / "history.png").exists()


def test_the_answer_decides(tltool: Tltool, tmp_path: Path, monkeypatch: Any) -> None:
    run = write_run(tmp_path / "run")
    monkeypatch.setattr("tltool.cli.remove_runs._can_ask", lambda: True)
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda *_, **__: next(answers))
    assert tltool("runs", "rm", run).exit_code == 130
    assert run.exists()
    assert tltool("runs", "rm", run).exit_code == 0
    assert not run.exists()


def _own_file_below(run: Path) -> Path:
    (run / "plots" / "mine.png").write_bytes(b"x")
    return run


def _own_file(run: Path) -> Path:
    (run / "notes.txt").write_text("mine")
    return run


def _no_run(run: Path) -> Path:
    (run / "manifest.json").unlink()
    return run


def _link(run: Path) -> Path:
    link = run.with_name("link")
    link.symlink_to(run, target_is_directory=True)
    return link


def _in_group(run: Path) -> Path:
    (run.parent / "group.json").write_text("{}")
    return run


def _group(run: Path) -> Path:
    return _in_group(run).parent


def _referred(run: Path) -> Path:
    other = write_run(run.with_name("other"))
    (other / "recipe.yaml").write_text(f"model:\n  weights: {run.resolve()}/model.keras\n")
    return run


def _exported(run: Path) -> Path:
    export = run.parent.parent / "export"
    export.mkdir()
    write_manifest(run / "manifest.json", small_manifest(export=str(export)))
    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_own_file, "contains what no run writes: notes.txt"),
        (_own_file_below, "contains what no run writes: plots/mine.png"),
        (_no_run, "holds no run"),
        (_link, "is a link to a run"),
        (_in_group, "belongs to a sweep or a cross-validation"),
        (_group, "is the folder of a sweep or a cross-validation"),
        (_referred, "the run 'other' refers to it"),
        (_exported, "its exported model"),
    ],
)
def test_what_must_stay_stays(
    change: Callable[[Path], Path], message: str, tltool: Tltool, tmp_path: Path, untouched: Any
) -> None:
    wanted = change(write_run(tmp_path / "runs" / "run"))
    untouched(tmp_path / "runs")
    result = tltool("runs", "rm", wanted, "--yes")
    assert result.exit_code in (2, 3) and message in result.stderr


def test_a_run_that_is_given_twice_is_removed_once(tltool: Tltool, tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "run")
    result = tltool(
        "runs", "rm", run, f"{run}/", tmp_path / "runs" / ".." / "runs" / "run", "--yes"
    )
    assert result.exit_code == 0 and f"removed {run}" in result.stderr
    assert "removed 1 run" in result.stdout and not run.exists()


def test_force_removes_a_run_with_an_exported_model(tltool: Tltool, tmp_path: Path) -> None:
    run = _exported(write_run(tmp_path / "runs" / "run"))
    assert tltool("runs", "rm", run, "--yes", "--force").exit_code == 0
    assert not run.exists() and (tmp_path / "export").is_dir()


def test_a_run_in_use_is_refused_also_with_force(tltool: Tltool, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", status="running")
    with locked(run):
        result = tltool("runs", "rm", run, "--yes", "--force")
    assert result.exit_code == 2 and "a process works on" in result.stderr
    assert tltool("runs", "rm", run, "--yes").exit_code == 0  # interrupted by now


def test_prune_needs_a_condition_and_combines_them(tltool: Tltool, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, accuracy in (("best", 0.9), ("good", 0.8), ("poor", 0.7)):
        write_run(runs / name, accuracy, data_digest="a")
    write_run(runs / "other data", 0.1, data_digest="b")
    write_run(runs / "no accuracy", data_digest="a")
    write_run(runs / "failed", status="failed")
    write_run(runs / "new", 0.6, data_digest="a", started="2999-01-01T00:00:00Z")
    _own_file(write_run(runs / "kept", 0.5, data_digest="a"))
    assert tltool("runs", "prune", runs, "--yes").exit_code == 2
    result = tltool(
        "runs", "prune", runs, "--older-than", "30", "--keep-best", "2", "--yes", "--json"
    )
    document = json.loads(result.stdout)
    assert [Path(run["folder"]).name for run in document["removed"]] == ["poor"]
    [kept] = document["kept"]
    assert "notes.txt" in kept
    assert names(runs) == ["best", "failed", "good", "kept", "new", "no accuracy", "other data"]
    assert tltool("runs", "prune", runs, "--failed", "--yes").exit_code == 0
    assert "failed" not in names(runs)
