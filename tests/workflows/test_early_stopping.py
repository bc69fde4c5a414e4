"""When a phase ends early and when stages join: said, and the one does not forestall the other."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.conftest import merged
from tltool.errors import Interrupted
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import finetune
from tltool.workflows.resume import resume

NEVER_BETTER = (
    "train.head.epochs=0",
    "train.finetune.epochs=9",
    "train.early_stopping.min_delta=100",
)
THAWED = (*NEVER_BETTER, "train.finetune.unfreeze=block2", "train.finetune.unfreeze_every=3")


class Listener(SilentObserver):
    """Keeps what is said of epochs; interrupts after one of them."""

    def __init__(self, until: int | None = None) -> None:
        self.output: list[str] = []
        self._until = until

    def on_message(self, text: str, *, level: str = "info") -> None:
        if "epoch" in text and not text.startswith("note"):
            self.output.append(text)

    def on_epoch(self, epoch: int, epochs: int, metrics: object) -> None:
        if epoch == self._until:
            raise KeyboardInterrupt


def epochs_of(run: Path) -> int:
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return sum(row["phase"] == "finetune" for row in csv.DictReader(file))


@pytest.mark.parametrize(
    ("patience", "thawed", "output"),
    [
        pytest.param(
            *(2, False, ["stopped after epoch 3: no improvement for 2 epochs"]),
            marks=pytest.mark.thorough,
        ),
        (1, False, ["stopped after epoch 2: no improvement for 1 epoch"]),
        # block2 is unfrozen in epoch 4, with a patience of its own
        (
            2,
            True,
            ["epoch 4: block2 is unfrozen", "stopped after epoch 5: no improvement for 2 epochs"],
        ),
        pytest.param(*(9, True, ["epoch 4: block2 is unfrozen"]), marks=pytest.mark.thorough),
    ],
)
def test_the_end_and_the_stages_are_told(finetune_tiny, fruit, patience, thawed, output):
    settings = (*(THAWED if thawed else NEVER_BETTER), f"train.early_stopping.patience={patience}")
    listener = Listener()
    run = finetune_tiny(fruit, *settings, observer=listener).run
    assert listener.output == output
    last = output[-1].partition("after epoch ")[2].partition(":")[0] or "9"
    assert epochs_of(run) == int(last)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_resumed_run_counts_on(fruit, tmp_path, tiny_settings):
    """Stopped in the second epoch, and again in the fourth, when another stage has joined."""
    settings = merged(*tiny_settings, *THAWED, "train.early_stopping.patience=2")
    recipe = load_recipe("vgg16", settings)
    half, whole = tmp_path / "half", tmp_path / "whole"
    with pytest.raises(Interrupted):
        finetune(fruit, recipe=recipe, out=half, observer=Listener(2))
    with pytest.raises(Interrupted):
        resume(half, observer=Listener(4))
    listener = Listener()
    resume(half, observer=listener)
    assert listener.output[-1] == "stopped after epoch 5: no improvement for 2 epochs"
    finetune(fruit, recipe=recipe, out=whole)
    assert [epochs_of(run) for run in (half, whole)] == [5, 5]
    first, second = (read_manifest(run / "manifest.json").model_digest for run in (half, whole))
    assert first == second
