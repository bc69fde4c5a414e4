"""Real workers of Ray: the same bits as in one process, also when one of them is killed."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import merged
from tests.engine.joined_cluster import everything
from tests.engine.running_cluster import ENVIRONMENT, running_cluster
from tests.workflows.conftest import TINY, contents, write_fruit
from tltool.engine.cluster_address import ClusterAddress, check_address
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune

SETTINGS = merged(
    *TINY, "train.finetune.epochs=0", "train.head.epochs=1", "train.cache.views=2",
    "train.batch_size=4", "augment.policy=light",
)  # fmt: skip


@pytest.mark.cluster
def test_features_of_two_workers_are_bit_identical_though_one_was_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    photos = write_fruit(tmp_path / "photos", n=32)
    finetune(
        photos,
        recipe=load_recipe("vgg16", SETTINGS),
        out=tmp_path / "one",
        feature_cache=tmp_path / "cache-one",
    )
    program = Path(__file__).with_name("killed_worker.py")
    done = subprocess.run(
        [sys.executable, program, photos, tmp_path / "two", tmp_path / "cache-two", *SETTINGS],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["killed"]
    assert facts["cluster"]["engine"] == "ray" and facts["cluster"]["workers"] == 2
    ours, theirs = (
        {name: digest for name, digest in contents(tmp_path / cache).items() if ".bin" in name}
        for cache in ("cache-one", "cache-two")
    )
    assert ours == theirs and len(ours) == 9
    assert not list((tmp_path / "cache-two").rglob("*.shard"))
    for name in ("metrics.json", "predictions.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.cluster
@pytest.mark.weekly
def test_a_running_cluster_does_what_one_process_does_and_is_left_running(tmp_path: Path) -> None:
    """Sweep, training, predictions and check; a worker of the sweep is killed."""
    pytest.importorskip("ray")
    photos = write_fruit(tmp_path / "photos", n=12)
    everything(str(photos), tmp_path / "one", SETTINGS, None)
    program = Path(__file__).with_name("joined_cluster.py")
    with running_cluster() as cluster:
        nodes = ",".join(map(str, cluster.processes))
        done = subprocess.run(
            [sys.executable, program, cluster.address, nodes, photos, tmp_path / "two", *SETTINGS],
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path.cwd())},
        )
        assert done.returncode == 0, done.stderr
        check_address(ClusterAddress(address=cluster.address))  # it still answers
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["killed"] and len(facts["machines"]) == 2
    runs = ["run", "sweep/001-seed0", "sweep/002-seed0"]
    for run in runs:
        digests = {
            json.loads((tmp_path / where / run / "manifest.json").read_text())["model_digest"]
            for where in ("one", "two")
        }
        assert len(digests) == 1
    assert predictions(tmp_path / "one/new.csv") == predictions(tmp_path / "two/new.csv")
    same = ["check/data_issues.csv", "check/data_report.html"]
    same += [f"{run}/{name}" for run in runs for name in ("metrics.json", "predictions.csv")]
    ours, theirs = (
        {name: digest for name, digest in contents(tmp_path / where).items() if name in same}
        for where in ("one", "two")
    )
    assert ours == theirs and len(ours) == len(same)


def predictions(file: Path) -> list[dict[str, str]]:
    """Return the rows of predictions without the identifier of the run."""
    with file.open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    return [{name: row[name] for name in row if name != "predicted_by"} for row in rows]
