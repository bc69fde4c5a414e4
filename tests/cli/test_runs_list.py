"""tltool runs list: results of validation and test apart, and runs that share a test set."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.test_shared_test_set import write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_run(folder / "vgg16-20260102-101500", [True] * 45 + [False] * 5)
    write_run(folder / "vgg16-20260102-111500", [True] * 40 + [False] * 10)
    write_run(folder / "validated-only", [True] * 9 + [False], split="validation")
    return folder


def test_validation_and_test_are_apart_with_n_and_interval(
    tltool: Callable[..., Any], runs: Path
) -> None:
    rows = {
        Path(row["run"]).name: row
        for row in json.loads(tltool("runs", "list", runs, "--json").stdout)
    }
    tested, validated = rows["vgg16-20260102-101500"], rows["validated-only"]
    assert tested["test"] == {
        "n": 50, "accuracy": {"value": 0.9, "low": 0.0, "high": 1.0}, "log_loss": 0.5
    }  # fmt: skip
    assert validated["test"] is None and validated["test_set"] is None
    assert validated["validation"]["n"] == 10
    assert tested["test_set"]["runs"] == 2
    assert tested["test_set"]["best"].endswith("vgg16-20260102-101500")


def test_the_table_is_readable_in_80_columns(
    tltool: Callable[..., Any], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = tltool("runs", "list", runs).stdout
    assert max(map(len, shown.splitlines())) <= 80
    text = " ".join(shown.split())
    assert "validation test" in text
    assert "0.000–1.000" in text and "n=50" in text
    assert "this test set was used by 2 runs" in text


def test_it_does_not_load_tensorflow(runs: Path) -> None:
    program = (
        "import sys\n"
        "from tltool.workflows.list_runs import list_runs\n"
        "from pathlib import Path\n"
        "assert len(list_runs(Path(sys.argv[1]))) == 3\n"
        "sys.exit('tensorflow' in sys.modules or 'sklearn' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(runs)]).returncode == 0


def test_runs_of_earlier_versions_are_listed(tltool: Callable[..., Any], tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "old", [True] * 10, digest=None)
    (run / "metrics.json").write_text("{}")
    result = tltool("runs", "list", run.parent)
    assert result.exit_code == 0 and "old" in result.stdout
