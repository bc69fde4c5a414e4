"""The examples in the docstrings of the Python API, run on a small model."""

from __future__ import annotations

import doctest
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tltool
from tests.workflows.conftest import write_fruit
from tltool.data.corrections.corrections_file import CorrectionsFile
from tltool.data.corrections.decision import Decision
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
OF_A_RUN = ["apply_corrections", "check_data", "compare", "evaluate", "explain", "load", "monitor"]
OF_A_RUN += ["predict", "split_data", "suggest"]


@pytest.fixture
def here(trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a folder with what the examples name."""
    shutil.copytree(trained.photos, tmp_path / "photos")
    shutil.copy(next(tmp_path.glob("photos/plum/*.png")), tmp_path / "new.jpg")
    for name in ("photos", "other"):
        shutil.copytree(trained.run, tmp_path / "runs" / name)
    new = write_fruit(tmp_path / "new fruit", n=2, seed=7)
    shutil.copytree(new / "plum", tmp_path / "unlabelled")
    sha256 = hashlib.sha256((tmp_path / "new.jpg").read_bytes()).hexdigest()
    decision = Decision(sha256, "new.jpg", "relabel", "plum", "kaki 柿", "ann")
    CorrectionsFile(tmp_path / "corrections.csv").append([decision])
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
