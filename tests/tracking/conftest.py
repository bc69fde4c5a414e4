"""Runs that the tests of trackers record."""

from __future__ import annotations

from pathlib import Path

import pytest

from tltool.recipe.load import load_recipe, to_yaml
from tltool.runs.layout import RunLayout


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> RunLayout:
    """Return a run that has just started."""
    layout = RunLayout(tmp_path / "run")
    layout.folder.mkdir()
    layout.recipe.write_text(to_yaml(load_recipe("quick")), encoding="utf-8")
    return layout
