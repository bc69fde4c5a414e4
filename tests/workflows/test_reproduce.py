"""A finished run is done again from what it left, and compared."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ONLY_PROBE, merged
from tests.workflows.conftest import TINY, write_fruit
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.recipe.load import load_recipe
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest, write_manifest
from tltool.workflows import pack_run
from tltool.workflows.finetune import finetune
from tltool.workflows.pack_run import pack
from tltool.workflows.reproduce import reproduce

Copy = Callable[..., Path]


@pytest.fixture(scope="module")
def probed(fruit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that ends with the linear probe, which is done again in less than a second."""
    recipe = load_recipe("vgg16", merged(*TINY, *ONLY_PROBE))
    return finetune(fruit, recipe=recipe, out=tmp_path_factory.mktemp("probed") / "run").run


@pytest.fixture
def copied(probed: Path, tmp_path: Path) -> Copy:
    """Copy a finished run, with its manifest changed as if it had been elsewhere."""

    def copy(**known: Any) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(probed, folder)
        manifest = folder / "manifest.json"
        write_manifest(manifest, replace(read_manifest(manifest), **known))
        return folder

    return copy


@pytest.mark.slow
def test_a_second_run_on_this_machine_is_bit_identical(trained, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in trained.run.rglob("*")}
    found = reproduce(trained.run, out=tmp_path / "again", offline=True)
    assert found.verdict == "bit-identical"
    assert found.metrics == ()
    assert found.weights_identical
    assert found.environment == ()
    assert (tmp_path / "again" / "metrics.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in trained.run.rglob("*")} == before


@pytest.mark.slow
def test_a_packed_run_is_reproduced_from_photos_elsewhere(probed, fruit, tmp_path):
    file = pack(probed, tmp_path / "fruit.tar.gz")
    with tarfile.open(file) as tar:
        assert set(tar.getnames()) == {
            "recipe.yaml", "manifest.json", "split.csv", "metrics.json", "history.csv",
            "predictions.csv", "packages.txt", "digests.json",
        }  # fmt: skip
        packages = tar.extractfile("packages.txt")
        assert packages is not None
        assert b"\nkeras==" in packages.read()
    shutil.copytree(fruit, tmp_path / "elsewhere")
    found = reproduce(file, data=tmp_path / "elsewhere", out=tmp_path / "again", offline=True)
    assert found.verdict == "bit-identical"


def test_the_model_is_packed_when_asked_for(trained, tmp_path):
    with tarfile.open(pack(trained.run, tmp_path / "a.tar.gz", model=True)) as tar:
        assert {"model.keras", "artifact.json"} <= set(tar.getnames())


def test_packing_writes_over_nothing(trained, tmp_path):
    (tmp_path / "a.tar.gz").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        pack(trained.run, tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").read_text() == "mine"


def test_a_disk_that_is_full_while_packing_leaves_no_half_file(trained, tmp_path, monkeypatch):
    def full() -> list[str]:  # the last thing that is packed
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pack_run, "installed", full)
    with pytest.raises(EnvironmentProblem, match=r"cannot be written: No space left"):
        pack(trained.run, tmp_path / "a.tar.gz")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    assert pack(trained.run, tmp_path / "a.tar.gz").is_file()


@pytest.mark.slow
def test_other_weights_in_the_end_are_the_same_within_tolerance_and_say_what_differs(
    copied, tmp_path
):
    run = copied(model_digest="0" * 64, precision="float32")
    manifest = read_manifest(run / "manifest.json")
    elsewhere = replace(manifest, machine={**manifest.machine, "cores": 64})
    write_manifest(run / "manifest.json", elsewhere)
    found = reproduce(run, out=tmp_path / "again", offline=True)
    assert found.verdict == "same within tolerance"
    assert not found.weights_identical
    assert ("machine.cores", "64", str(manifest.machine["cores"])) in found.environment
    assert read_manifest(found.run / "manifest.json").precision == "float32"


@pytest.mark.slow
def test_other_figures_differ(copied, tmp_path):
    run = copied(model_digest="0" * 64)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["accuracy"]["value"] += 0.5
    (run / "metrics.json").write_text(json.dumps(metrics))
    found = reproduce(run, out=tmp_path / "again", offline=True)
    assert found.verdict == "differs"
    assert found.largest == pytest.approx(0.5)
    assert [name for name, _, _ in found.metrics] == ["accuracy.value"]


def test_other_photos_are_refused_by_name(trained, tmp_path):
    write_fruit(tmp_path / "others", n=14, seed=5)
    with pytest.raises(DataError, match="are not those of the run to reproduce: 42 added"):
        reproduce(trained.run, data=tmp_path / "others", out=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_other_starting_weights_are_refused(copied, tmp_path):
    run = copied(weights_digest="0" * 64)
    with pytest.raises(EnvironmentProblem, match="weights to start from are not those"):
        reproduce(run, out=tmp_path / "again", offline=True)


def test_a_run_that_is_not_finished_has_nothing_to_compare(copied, tmp_path):
    run = copied(status="running")
    with pytest.raises(UsageError, match="no result to compare with"):
        reproduce(run)
    with pytest.raises(UsageError, match="is not finished"):
        pack(run, tmp_path / "a.tar.gz")


def test_a_manifest_edited_by_hand_is_refused(copied):
    run = copied()
    path = RunLayout(run).manifest
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(DataError, match="changed after the run wrote it"):
        reproduce(run)


def test_a_recipe_edited_by_hand_is_refused(copied):
    run = copied()
    recipe = RunLayout(run).recipe
    recipe.write_text(recipe.read_text().replace("batch_size: 32", "batch_size: 16"))
    with pytest.raises(DataError, match="was changed since the run"):
        reproduce(run)


@pytest.mark.parametrize("content", [None, b"", b"no tar at all"])
def test_what_is_no_run_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "run.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"no run|packed run .* cannot be read"):
        reproduce(tmp_path / "run.tar.gz")


def test_a_pack_that_would_leave_its_folder_is_refused(tmp_path):
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "run.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "evil", arcname="../evil")
    with pytest.raises(DataError, match=r"which is no file of a run"):
        reproduce(tmp_path / "run.tar.gz")


def test_images_that_were_moved_are_asked_for(trained, tmp_path):
    with pytest.raises(DataError, match="no longer at '/moved/photos'") as caught:
        reproduce(trained.run, data="/moved/photos", out=tmp_path / "again")
    assert "--data" in str(caught.value.hint)
    with pytest.raises(DataError, match="the test images of the run are no longer"):
        reproduce(trained.run, test="/moved/test", out=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_the_settings_of_keras_are_recorded(trained):
    recorded = read_manifest(trained.run / "manifest.json").keras
    assert recorded is not None
    assert recorded["backend"] == "tensorflow"
    assert recorded["image_data_format"] == "channels_last"
