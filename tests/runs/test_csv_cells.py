"""Tables: no cell is a formula, and every name comes back as it was."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.data.catalog import Catalog, Item
from tltool.runs.csv_cells import CsvWriter, csv_rows

NAMES = [
    "=1+1.png",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "'=1",
    "''-1",
    "'a",
    "a",
]


def written(*cells: object) -> str:
    text = io.StringIO(newline="")
    writer = CsvWriter(text, lineterminator="\n")
    writer.writerow([f"c{number}" for number in range(len(cells))])
    writer.writerow(cells)
    return text.getvalue()


@settings(deadline=None)
@given(st.lists(st.sampled_from(NAMES) | st.text(st.characters(codec="utf-8")), min_size=2))
def test_every_text_comes_back_and_none_is_a_formula(cells):
    text = written(*cells)
    (row,) = csv_rows(io.StringIO(text, newline=""))
    assert list(row.values()) == cells
    raw = list(csv.reader(io.StringIO(text, newline="")))[1]
    for cell in raw:
        assert cell[:1] not in set("=+@\t\r")
        assert cell[:1] != "-" or float(cell) <= 0


@pytest.mark.parametrize("number", [-0.5, -3, "-1.25e-09", "-inf", 7, "+", "0"])
def test_numbers_stay_numbers(number):
    (row,) = csv_rows(io.StringIO(written(number, "x"), newline=""))
    cell = written(number, "x").splitlines()[1].split(",")[0]
    assert row["c0"] == str(number)
    assert cell == (str(number) if number != "+" else "'+")


def test_the_split_of_files_named_like_formulas_is_read_back(tmp_path):
    from tltool.data.splits.split import Split, read_split, write_split

    paths = [tmp_path / name.strip() / "1.png" for name in NAMES[:4]]
    items = tuple(Item(path, path.parent.name, sha256="0" * 64) for path in paths)
    names = tuple(sorted({item.label for item in items}))
    split = Split(("train",) * 4, ("",) * 4)
    write_split(tmp_path / "split.csv", Catalog(tmp_path, items, names), split)
    rows = read_split(tmp_path / "split.csv")
    assert [row.label for row in rows] == [item.label for item in items]
    assert [tmp_path / row.path for row in rows] == paths
    assert not [
        line for line in (tmp_path / "split.csv").read_text().splitlines() if line[0] in "=+-@"
    ]
