"""In a notebook the Python API shows its progress: one output, text instead of red logs."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.conftest import write_photos
from tests.notebook_kernel import Shown, as_notebook
from tltool.errors import DataError
from tltool.events import Observer, SilentObserver
from tltool.notebook import loading, with_display, without_native_logs

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return as_notebook(monkeypatch)


def work(data: str, *, observer: Observer | None = None) -> Observer | None:
    """Report like a workflow."""
    if observer is not None:
        observer.on_phase("audit", data)
        observer.on_progress(5, 10)
        observer.on_message("2 files <b>", level="warning")
        observer.on_phase("head")
        observer.on_epoch(1, 3, {"loss": 0.5, "val_accuracy": 0.75})
        observer.on_table("Classes", ["class"], [["cat"]])
    return observer


def test_a_function_shows_phases_epochs_and_warnings(shown: Shown) -> None:
    with_display(work)("photos")
    assert "audit</b> photos" in shown.pages[0]
    assert any("5/10 images" in page for page in shown.pages)
    last = shown.pages[-1]
    for text in ("✓ <b>audit</b>", "<b>warning:</b> 2 files &lt;b&gt;", "1/3", "0.7500", "cat"):
        assert text in last
    assert "<progress" not in last


def test_a_failure_is_marked_and_told_without_a_traceback(shown: Shown) -> None:
    def fails(*, observer: Observer | None = None) -> None:
        assert observer is not None
        observer.on_phase("audit")
        raise DataError("gone", hint="look")

    with pytest.raises(DataError) as raised:
        with_display(fails)()
    assert "✗ <b>audit</b>" in shown.pages[-1]
    assert raised.value._render_traceback_() == ["error: gone", "hint: look"]


def test_an_observer_of_the_caller_is_used_instead(shown: Shown) -> None:
    own = SilentObserver()
    assert with_display(work)("photos", observer=own) is own
    assert shown.pages == []


def test_outside_a_notebook_nothing_is_shown() -> None:
    assert with_display(work)("photos") is None
    with loading("TensorFlow"):
        pass


def test_logs_of_c_code_are_not_shown_and_later_output_is(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with without_native_logs():
        os.write(2, b"I0000 oneDNN custom operations are on\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["first-model", "go-on-with-keras"])
def test_the_tutorials_run_in_a_kernel(name: str, tmp_path: Path) -> None:
    """As ``make docs`` executes them, on fewer images."""
    pytest.importorskip("nbclient")
    spec = importlib.util.spec_from_file_location("run_notebooks", DOCS / "run_notebooks.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    write_photos(tmp_path / "photos", n=10)
    path = DOCS / "notebooks" / f"{name}.ipynb"
    assert path in script.NOTEBOOKS
    notebook = script.execute(path, tmp_path, data="photos", settings=script.TINY)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    pages = [output["data"].get("text/html", "") for output in outputs if "data" in output]
    assert any("✓ <b>evaluation</b>" in page for page in pages)
    assert any("accuracy" in page and "data:image/png" in page for page in pages)
