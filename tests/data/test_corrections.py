"""corrections.csv: rows are only added, undone by a further row, and combined by person."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tltool.data.corrections.apply import load_corrections
from tltool.data.corrections.corrections_file import CorrectionsFile, read_corrections
from tltool.data.corrections.decision import Decision, combine, standing
from tltool.errors import DataError, UsageError

A, B = "a" * 64, "b" * 64


def made(
    action: str, new: str = "", *, sha256: str = A, who: str = "ann", why: str = ""
) -> Decision:
    return Decision(sha256, "cat/1.jpg", action, "cat", new, who, "2026-01-31T23:59:59Z", why)


def test_what_is_appended_is_read_and_nothing_before_is_changed(tmp_path):
    file = tmp_path / "corrections.csv"
    rows = [made("relabel", "=dog", why='\'@x, "y"'), made("undo"), made("exclude", who="bob")]
    CorrectionsFile(file).append(rows[:1])
    before = file.read_bytes()
    CorrectionsFile(file).append(rows[1:])  # as another process does
    assert file.read_bytes().startswith(before)
    assert read_corrections(file) == tuple(rows)
    assert b",'=dog," in before  # no formula for a spreadsheet


def test_a_row_that_a_kill_has_cut_is_no_decision_and_the_next_is_whole(tmp_path):
    file = tmp_path / "corrections.csv"
    CorrectionsFile(file).append([made("exclude"), made("keep", sha256=B)])
    whole = file.read_bytes()
    file.write_bytes(whole + f"{B},cat/2.jpg,excl".encode())
    assert len(read_corrections(file)) == 2
    CorrectionsFile(file).append([made("unsure")])
    assert [row.action for row in read_corrections(file)] == ["exclude", "keep", "unsure"]
    file.write_bytes(whole.rstrip(b"\n"))  # saved by an editor: all columns are there
    CorrectionsFile(file).append([made("unsure")])
    assert [row.action for row in read_corrections(file)] == ["exclude", "keep", "unsure"]


ENDLESS = """
import itertools, sys
from pathlib import Path
from tltool.data.corrections.corrections_file import CorrectionsFile
from tltool.data.corrections.decision import Decision
file = CorrectionsFile(Path(sys.argv[1]))
for number in itertools.count():
    file.append([Decision(f"{number:064x}", "cat/1.jpg", "exclude", "cat")])
    print(number, flush=True)
"""


def test_a_killed_process_has_written_every_decision_that_it_has_confirmed(tmp_path):
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "corrections.csv")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(20)]
        process.kill()
        lines += process.stdout.readlines()
    confirmed = [f"{int(line):064x}" for line in lines if line.endswith("\n")]
    written = [row.sha256 for row in read_corrections(tmp_path / "corrections.csv")]
    assert len(confirmed) >= 20 and written[: len(confirmed)] == confirmed


def test_the_last_decision_counts_and_undo_brings_back_the_one_before():
    rows = [made("relabel", "dog"), made("exclude"), made("undo")]
    assert standing(rows)[A]["ann"].new_label == "dog"
    assert standing([*rows, made("undo"), made("undo")]) == {}


def test_people_who_disagree_are_a_conflict_unless_one_is_preferred(tmp_path):
    file = tmp_path / "corrections.csv"
    rows = [made("relabel", "dog"), made("keep", who="bob"), made("unsure", who="eve")]
    CorrectionsFile(file).append(rows)
    _, (conflict,) = combine(rows)
    assert conflict.describe() == "cat/1.jpg (ann: dog, bob: cat)"
    with pytest.raises(DataError, match="people disagree about 1 image: cat/1"):
        load_corrections(file)
    assert load_corrections(file, prefer="ann").decisions[A].new_label == "dog"
    with pytest.raises(DataError, match="no decision of 'zoe'"):
        load_corrections(file, prefer="zoe")
    agreed, none = combine([made("relabel", "dog"), made("relabel", "dog", who="bob")])
    assert agreed[A].label == "dog" and none == ()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"{A},x,shrug,cat,,ann,,", "row 2: its decision is 'shrug'"),
        (f"{A},x,relabel,cat,,ann,,", "row 2: it has no new_label"),
        ("12,x,keep,cat,,ann,,", "row 2: its sha256"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, row, problem):
    file = tmp_path / "corrections.csv"
    CorrectionsFile(file)
    with file.open("a") as part:
        part.write(row + "\n")
    with pytest.raises(DataError, match=problem):
        read_corrections(file)


def test_another_table_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\na.jpg,cat\n")
    with pytest.raises(DataError, match="no column sha256"):
        read_corrections(tmp_path / "labels.csv")
    with pytest.raises(UsageError, match="there is no corrections file"):
        read_corrections(tmp_path / "none.csv")
