"""The CSV files of a run are read back exactly."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tltool.evaluation.csv_tables import HISTORY_COLUMNS, write_history, write_predictions


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_are_read_back_exactly(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).dirichlet([1, 1], size=5).astype(np.float32)
    paths = [tmp_path / f"{index}, ü.jpg" for index in range(5)]
    labels = np.array([0, 1, 0, 1, 0])
    write_predictions(tmp_path / "p.csv", paths, labels, probabilities, ["an,ts", "bées"])
    rows = read(tmp_path / "p.csv")
    back = np.array([[row["p_an,ts"], row["p_bées"]] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(back, probabilities)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    right = probabilities.argmax(axis=1) == labels
    assert [row["correct"] for row in rows] == ["true" if hit else "false" for hit in right]
    assert rows[0]["label"] == "an,ts" and float(rows[0]["confidence"]) == probabilities[0].max()


def test_a_file_name_that_is_not_utf8_does_not_prevent_the_table(tmp_path: Path) -> None:
    odd = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    write_predictions(tmp_path / "p.csv", [odd], np.array([0]), np.array([[0.9, 0.1]]), ["a", "b"])
    assert read(tmp_path / "p.csv")[0]["path"].startswith("caf")


def test_a_missing_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="longer"):
        write_predictions(tmp_path / "p.csv", ["a"], np.array([0, 1]), np.eye(2), ["a", "b"])


def test_history_keeps_its_columns_and_adds_unknown_ones(tmp_path: Path) -> None:
    rows = [
        {"phase": "probe", "epoch": 0, "loss": None, "val_loss": 0.25},
        {"phase": "head", "epoch": 1, "loss": np.float32(0.1), "images_per_second": 7.5},
    ]
    write_history(tmp_path / "h.csv", rows)
    back = read(tmp_path / "h.csv")
    assert tuple(back[0]) == (*HISTORY_COLUMNS, "images_per_second")
    assert back[0]["loss"] == "" and back[0]["val_loss"] == "0.25"
    assert np.float32(back[1]["loss"]) == np.float32(0.1) and back[1]["epoch"] == "1"


def test_an_empty_history_is_a_header(tmp_path: Path) -> None:
    write_history(tmp_path / "h.csv", [])
    assert read(tmp_path / "h.csv") == []


def test_predictions_have_the_group_of_each_image(tmp_path: Path) -> None:
    paths, labels = ["a.jpg", "b.jpg", "c.jpg"], np.array([0, 1, 0])
    for groups, expected in ((["p 1", "p 1", ""], ["p 1", "p 1", ""]), (None, ["", "", ""])):
        write_predictions(tmp_path / "p.csv", paths, labels, np.eye(2)[labels], ["a", "b"], groups)
        assert [row["group"] for row in read(tmp_path / "p.csv")] == expected
