"""The examples in the docstrings of the Python API, run on a small model."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tltool
from tltool.workflows.export import export

SETTINGS = {
    "model.backbone": "tiny_vgg",
    "model.weights": "random",
    "data.image_size": 32,
    "train.head.epochs": 1,
    "train.finetune.epochs": 0,
    "evaluate.report": False,
    "evaluate.label_errors": False,
}
OF_A_RUN = ["check_data", "compare", "evaluate", "explain", "load", "predict", "split_data"]


@pytest.fixture
def here(trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a folder with what the examples name."""
    shutil.copytree(trained.photos, tmp_path / "photos")
    shutil.copy(next(tmp_path.glob("photos/plum/*.png")), tmp_path / "new.jpg")
    for name in ("photos", "other"):
        shutil.copytree(trained.run, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)


def run_example(function: object, **names: object) -> None:
    """Run the example of one docstring, and compare what it prints with what is written."""
    (example,) = doctest.DocTestFinder(recurse=False).find(function, "example", globs=names)
    assert example.examples
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=output.append)
    assert not runner.failures, "".join(output)


@pytest.mark.parametrize("name", OF_A_RUN)
def test_the_example_of_a_function_runs(name: str, here: None) -> None:
    run_example(getattr(tltool, name), tltool=tltool)


def test_the_example_of_export_runs(here: None) -> None:
    run_example(export, tltool=tltool)


def finetune(*args: Any, set: dict[str, Any] | None = None, **options: Any) -> Any:
    """Train as ``tltool.finetune``, on a tiny network."""
    return tltool.finetune(*args, set=SETTINGS | (set or {}), **options)


@pytest.mark.thorough
def test_the_example_of_training_runs(here: None) -> None:
    run_example(tltool.finetune, tltool=SimpleNamespace(finetune=finetune))


def test_every_function_that_makes_or_uses_a_model_has_an_example() -> None:
    functions = {name for name in tltool.__all__ if name.islower() and name[0] != "_"}
    assert functions - {"adopt", "finetune", "reproduce", "resume"} == {*OF_A_RUN}
