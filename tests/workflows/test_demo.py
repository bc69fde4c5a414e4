"""The demo: the main job on the digits."""

from __future__ import annotations

import csv
import json

import pytest

from tltool.errors import UsageError
from tltool.events import SilentObserver
from tltool.workflows import demo as story
from tltool.workflows.demo import demo
from tltool.workflows.samples import write_digits

TINY = (
    "name=digits",
    "data.image_size=32",
    "data.test_fraction=0.2",
    "model.backbone=tiny_vgg",
    "model.weights=random",
    "train.finetune.unfreeze=block3",
    "train.head.epochs=1",
    "train.finetune.epochs=1",
    "train.probe.folds=2",
    "train.probe.c_values=[0.1]",
    "train.cache=on",
)


@pytest.mark.weekly
def test_a_second_demo_keeps_the_digits_and_adds_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(story, "_OVERRIDES", TINY)
    write_digits(tmp_path / "digits")
    (tmp_path / "runs" / "1").mkdir(parents=True)
    result = demo(tmp_path, offline=True, observer=SilentObserver())
    assert result.run == tmp_path / "runs" / "2"
    assert result.export == tmp_path / "saved_models" / "digits" / "1"
    assert all(path.exists() for path in result.paths().values())
    document = json.loads(json.dumps(result.document()))
    assert document["prediction"]["class"] in set("0123456789")


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "diary.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        demo(tmp_path, offline=True, observer=SilentObserver())


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.pretrained
def test_the_demo_reads_97_percent_of_unseen_digits(tmp_path, vgg16_weights):
    result = demo(tmp_path, offline=True, observer=SilentObserver())
    assert result.metrics["n"] > 300
    assert result.metrics["accuracy"]["value"] >= 0.97
    with (result.run / "split.csv").open(encoding="utf-8", newline="") as table:
        parts = {row["path"]: row["split"] for row in csv.DictReader(table)}
    assert parts[str(result.image.relative_to(result.digits))] == "test"
    assert result.answer[0] == result.image.parent.name
