"""The accuracy is reported before pictures, report and export; the next export is version 2."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from tests.conftest import ONLY_PROBE
from tests.workflows.conftest import contents
from tltool.events import SilentObserver
from tltool.workflows.evaluate import evaluate


class Listener(SilentObserver):
    """Records for each report of an accuracy whether ``files`` exist."""

    def __init__(self, *files: Path) -> None:
        self.files = files
        self.answers: list[tuple[str, list[bool]]] = []

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        if text.startswith("accuracy "):
            self.answers.append((text, [file.exists() for file in self.files]))


def test_a_run_reports_the_accuracy_before_it_draws_and_exports_the_next_version(
    finetune_tiny, fruit, trained, tmp_path
):
    run, exports = tmp_path / "run0", tmp_path / "exports"
    first = shutil.copytree(trained.export, exports / "fruit" / "1")
    before, second = contents(first), first.with_name("2")
    listener = Listener(run / "metrics.json", run / "plots", run / "report.html", second)
    settings = ("name=fruit", "export.enabled=true", "evaluate.report=true", *ONLY_PROBE)
    result = finetune_tiny(fruit, *settings, saved_models=exports, observer=listener)
    [(text, existing)] = listener.answers
    assert existing == [True, False, False, False]
    assert all(file.exists() for file in listener.files)
    assert f"accuracy {100 * result.metrics['accuracy']['value']:.1f} % (" in text
    assert text.endswith(f"the run is in {run}")
    assert result.export == second
    assert sorted(path.name for path in first.parent.iterdir()) == ["1", "2"]
    assert contents(first) == before


def test_an_evaluation_reports_the_accuracy_before_its_report(trained, tmp_path):
    page = tmp_path / "report.html"
    listener = Listener(page)
    evaluate(trained.run, trained.photos, report=page, observer=listener)
    [(_, existing)] = listener.answers
    assert existing == [False]
    assert page.exists()
