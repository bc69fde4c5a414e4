"""The command line in this process, and the options that make a run take seconds."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.conftest import WITHOUT_EXTRAS, merged
from tltool.cli.main import app

TINY = (
    "model.backbone=tiny_vgg",
    "model.weights=random",
    "train.finetune.unfreeze=block3",
    "train.head.epochs=1",
    "train.finetune.epochs=1",
    "train.probe.folds=2",
    "train.probe.c_values=[0.1, 1]",
    "train.cache=on",
    *WITHOUT_EXTRAS,
)

Tltool = Callable[..., Any]


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    """Return content and time of change of every file below ``folder``."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def tltool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tltool:
    """Run ``tltool ARGS`` in an empty folder; a traceback on either stream fails the test."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*args: object, settings: tuple[str, ...] = ()) -> Any:
        flags = [flag for setting in settings for flag in ("--set", setting)]
        result = CliRunner().invoke(app, [*map(str, args), *flags])
        unexpected = result.exception
        if unexpected is not None and not isinstance(unexpected, SystemExit):
            traceback.print_exception(unexpected)
        assert unexpected is None or isinstance(unexpected, SystemExit), repr(unexpected)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def finetune_tiny(tltool: Tltool, tmp_path: Path) -> Tltool:
    """Run ``tltool finetune PHOTOS`` with the tiny backbone into ``tmp_path / "run"``."""

    def run(photos: Path, *args: object, settings: tuple[str, ...] = ()) -> Any:
        folders = ("--out", tmp_path / "run", "--export-to", tmp_path / "exports")
        every = tuple(merged(*TINY, "export.enabled=false", *settings))
        return tltool("finetune", photos, *folders, "--offline", *args, settings=every)

    return run


@pytest.fixture
def untouched() -> Iterator[Callable[[Path], Path]]:
    """Return a function that remembers a folder; its files must be the same afterwards."""
    before: dict[Path, Any] = {}

    def remember(folder: Path) -> Path:
        before[folder] = fingerprint(folder)
        return folder

    yield remember
    for folder, files in before.items():
        assert fingerprint(folder) == files


def one_sentence(result: Any) -> str:
    """Return the text of the one error of a failed command."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert "internal error" not in errors[0]
    return errors[0]


@pytest.fixture
def the_error() -> Callable[[Any], str]:
    """Return the function that finds the one error sentence of a failed command."""
    return one_sentence


@pytest.fixture
def no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """What a check finds must not depend on the weights of whoever runs the tests."""
    if not request.node.get_closest_marker("pretrained"):
        monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "weights"))
