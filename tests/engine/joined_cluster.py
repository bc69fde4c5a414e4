"""Run commands with the workers of a running cluster, kill one of them; print what they found.

python joined_cluster.py HOST:PORT NODE,NODE PHOTOS FOLDER KEY=VALUE...
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.engine.killed_worker import TASK
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe, read_recipe
from tltool.runs.run_options import RunOptions
from tltool.workflows.batch_predict import batch_predict
from tltool.workflows.check_data import check_data
from tltool.workflows.cluster import check_cluster
from tltool.workflows.finetune import finetune
from tltool.workflows.prediction.options import PredictOptions
from tltool.workflows.sweep import sweep

GRID = {"model.head.dropout": [0.0, 0.5]}


def everything(photos: str, folder: Path, settings: list[str], cluster: str | None) -> None:
    """Train, predict and check, and do a sweep; all results are in ``folder``."""
    options = RunOptions(photos, offline=True, cluster=cluster)
    own = [one for one in settings if not one.startswith("export.")]
    sweep(read_recipe("vgg16"), options, out=folder / "sweep", grid=GRID, seeds=[0], settings=own)
    run = finetune(
        photos,
        recipe=load_recipe("vgg16", settings),
        out=folder / "run",
        feature_cache=folder / "cache",
        cluster=cluster,
    ).run
    wanted = PredictOptions(run, [photos], output=folder / "new.csv", cluster=cluster)
    batch_predict(wanted, observer=SilentObserver())
    check_data(photos, out=folder / "check", offline=True, cluster=cluster)


def kill_a_worker(nodes: list[int], runs: Path, killed: list[int]) -> None:
    """End a worker of the nodes with SIGKILL as soon as a run has begun."""
    while not killed:
        time.sleep(0.1)
        if not any(runs.glob("*/recipe.yaml")):
            continue
        for node in nodes:
            for child in psutil.Process(node).children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # it has ended by itself
                    if not killed and TASK in (child.name(), *child.cmdline()):
                        child.kill()
                        killed.append(child.pid)


def main(address: str, nodes: str, photos: str, folder: str, *settings: str) -> None:
    """Do everything, and print one JSON document."""
    killed = list[int]()
    checked = check_cluster(None, address, folder=None, observer=SilentObserver())
    runs = Path(folder) / "sweep"
    killer = threading.Thread(
        target=kill_a_worker,
        args=([int(one) for one in nodes.split(",")], runs, killed),
        daemon=True,
    )
    killer.start()
    everything(photos, Path(folder), [*settings], address)
    print(json.dumps({"killed": killed, "machines": checked["machines"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
