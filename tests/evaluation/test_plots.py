"""Plots are written for any number of classes and epochs, without labels that are cut off."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tltool.evaluation.plots.confusion_plot import plot_confusion
from tltool.evaluation.plots.history_plot import plot_history

NAMES: dict[str, list[str]] = {
    "two": ["ants", "bees"],
    "ten": [str(digit) for digit in range(10)],
    "odd": ["köttbullar", "寿司", "$5 and $6", "a\nb", "", "x_" * 60],
    "many": [f"species number {index}" for index in range(40)],
}


def epochs(phase: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase,
            "epoch": epoch,
            "loss": 1 / (1 + epoch) if epoch else None,
            "accuracy": 0.9 if epoch else None,
            "val_loss": 1.1 / (1 + epoch),
            "val_accuracy": 0.8,
        }
        for epoch in range(count)
    ]


@pytest.mark.parametrize("case", NAMES)
def test_a_confusion_matrix_is_drawn_without_output_on_the_terminal(
    tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    classes = len(NAMES[case])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion(tmp_path / "plot.png", np.eye(classes, dtype=np.int64) * 7, NAMES[case])
    with Image.open(tmp_path / "plot.png") as image:
        pixels = np.asarray(image.convert("L"))
    edge = np.concatenate([pixels[:4].ravel(), pixels[-4:].ravel(), pixels[:, :4].ravel()])
    assert edge.min() == 255, "something is cut off at the edge"
    assert pixels.min() < 100
    assert capfd.readouterr() == ("", "")


def test_a_class_without_images_is_drawn_empty(tmp_path: Path) -> None:
    plot_confusion(tmp_path / "plot.png", [[3, 0], [0, 0]], ["ants", "bees"])
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_drawing_does_not_change_the_settings_of_matplotlib(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plot_confusion(tmp_path / "plot.png", [[3, 0], [0, 4]], ["ants", "bees"])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "rows",
    [[], epochs("probe", 1), epochs("probe", 1) + epochs("head", 12) + epochs("finetune", 5)],
    ids=["empty", "one", "three phases"],
)
def test_a_history_of_any_length_is_drawn(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_history(tmp_path / "plot.png", rows)
        plot_history(tmp_path / "marked.png", rows, best=len(rows) - 1 if rows else None)
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size[0] > 1000


def test_settings_of_the_user_do_not_matter(tmp_path: Path) -> None:
    import matplotlib

    plot_confusion(tmp_path / "plain.png", np.eye(3, dtype=np.int64), NAMES["two"] + ["wasps"])
    other = {"text.usetex": True, "savefig.facecolor": "black", "axes.grid": True, "font.size": 30}
    with matplotlib.rc_context(other):
        plot_confusion(tmp_path / "same.png", np.eye(3, dtype=np.int64), NAMES["two"] + ["wasps"])
        assert matplotlib.rcParams["text.usetex"] is True
    assert (tmp_path / "same.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
