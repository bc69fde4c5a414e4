"""Two processes that start at the same moment: what is made is what decides, not a look before."""

from __future__ import annotations

import datetime
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tltool.errors import UsageError
from tltool.runs.layout import check_unused, create_run
from tltool.runs.lock import is_locked, locked
from tltool.storage.durable import new_file, publish_new
from tltool.workflows.demo import _next_run
from tltool.workflows.prediction.output_file import (
    Columns,
    ExistingRows,
    open_output_file,
    read_existing_rows,
)
from tltool.workflows.preflight.output_paths import (
    REPORT_FILE,
    claim_report_folder,
    report_folder,
)

NOW = datetime.datetime(2026, 1, 31, 12, 0, 0, tzinfo=datetime.UTC)


def at_once(call, count=8):
    """Return the results of ``count`` calls that start together."""
    barrier = threading.Barrier(count)

    def one(number):
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = at_once(lambda _: create_run(None, "birds", now=NOW).folder)
    assert len(set(folders)) == 8
    assert {folder.name.removeprefix("birds-20260131-120000") for folder in folders} == {
        "",
        *(f"-{number}" for number in range(2, 9)),
    }


def test_demos_of_one_second_have_folders_of_their_own(tmp_path):
    assert {path.name for path in at_once(lambda _: _next_run(tmp_path / "runs"))} == set(
        "12345678"
    )


def test_of_runs_with_one_out_folder_a_single_one_starts(tmp_path):
    out = tmp_path / "run"

    def start(_):
        try:
            layout = create_run(out, "birds", now=NOW)
            with locked(layout.folder):
                check_unused(layout.folder)
                (layout.folder / "recipe.yaml").write_text("seed: 1")
                return "started"
        except UsageError as error:
            return error.message

    assert (at_once(start) + at_once(start)).count("started") == 1


def test_a_folder_that_another_run_has_used_meanwhile_is_refused(tmp_path):
    layout = create_run(tmp_path / "run", "birds", now=NOW)  # found empty
    with locked(layout.folder):
        layout.recipe.write_text("seed: 1")  # another run, which has ended
    with locked(layout.folder), pytest.raises(UsageError, match="not empty"):
        check_unused(layout.folder)


def test_a_lock_is_seen_by_who_may_only_read(tmp_path):
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_never_replaces_another(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    path = tmp_path / "report.html"
    with new_file(path) as part:
        assert not path.exists()
        part.write_text("first")
    with pytest.raises(UsageError, match="exists"), new_file(path) as part:
        part.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="broken"), new_file(tmp_path / "x.png") as part:
        part.write_text("half")
        raise OSError("broken")
    assert not list(tmp_path.iterdir())


def _no_links(*_):
    raise PermissionError(1, "Operation not permitted")


def test_one_of_many_files_gets_the_name(tmp_path):
    def publish(number):
        part = tmp_path / f"{number}.part"
        part.write_text(str(number))
        try:
            publish_new(part, tmp_path / "name")
        except FileExistsError:
            return None
        return str(number)

    winners = [result for result in at_once(publish) if result]
    assert winners == [(tmp_path / "name").read_text()]


COLUMNS = Columns(top=1, ood=False, prediction_set=False, predicted_by="model")


def test_two_predictions_never_write_one_new_file(tmp_path):
    file = tmp_path / "out.csv"

    def write(_):
        try:
            with open_output_file(file, COLUMNS, ExistingRows(), append=False):
                return True
        except UsageError as error:
            assert "exists" in error.message
            return False

    assert sum(at_once(write)) == 1


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_a_file_that_grew_since_it_was_read_is_not_cut(tmp_path, name):
    file = tmp_path / name
    before = read_existing_rows(file)
    rows = 'path,error,class,probability,predicted_by\n"a",,x,1,model\n'
    if name.endswith("l"):
        rows = '{"path": "a", "error": null, "predicted_by": "model"}\n'
    file.write_text(rows)
    with (
        pytest.raises(UsageError, match="another process has written"),
        open_output_file(file, COLUMNS, before, append=True),
    ):
        pass
    assert file.read_text() == rows


def test_two_that_append_to_one_file_are_not_mixed(tmp_path):
    file = tmp_path / "out.csv"
    with open_output_file(file, COLUMNS, ExistingRows(), append=True):
        before = read_existing_rows(file)
        with (
            pytest.raises(UsageError, match="another process writes"),
            open_output_file(file, COLUMNS, before, append=True),
        ):
            pass


def test_checks_of_two_sources_of_one_name_do_not_share_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = [str(tmp_path / str(number) / "photos") for number in range(8)]
    folders = at_once(lambda number: claim_report_folder(sources[number], None))
    assert len(set(folders)) == 8
    for source, folder in zip(sources, folders, strict=True):
        assert report_folder(source, None) == folder  # the next check of it replaces its report
        assert (folder / REPORT_FILE).is_file()
