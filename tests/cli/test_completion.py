"""The shell completes recipes, keys of recipes, backbones, runs and models."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import small_manifest
from tltool.cli.main import app
from tltool.runs.manifest import write_manifest

WORDS = {
    "finetune photos --recipe quic": ["quick"],
    "finetune photos -r ./own": ["./own.yaml"],
    "finetune photos --set train.head.e": ["train.head.epochs="],
    "finetune photos --backbone resnet18": ["resnet18"],
    "recipes show quic": ["quick"],
    "runs show ": ["runs/flowers"],
    "runs rm runs/fl": ["runs/flowers"],
    "predict ": ["runs/flowers", "saved_models/flowers"],
    "fine": ["finetune"],
}


@pytest.mark.parametrize("words", WORDS)
def test_the_shell_completes(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/flowers").mkdir(parents=True)
    write_manifest(Path("runs/flowers/manifest.json"), small_manifest())
    Path("saved_models/flowers/1").mkdir(parents=True)
    Path("saved_models/flowers/1/saved_model.pb").touch()
    Path("own.yaml").touch()
    line = f"tltool {words}"
    environment = {
        "_TLTOOL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    result = CliRunner().invoke(app, [], prog_name="tltool", env=environment)
    assert result.stdout.split() == WORDS[words]
