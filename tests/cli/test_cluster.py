"""tltool cluster: files for Kubernetes and SLURM, and the check of a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
import yaml
from typer.testing import CliRunner

from tests.engine.local_engine import LocalEngine
from tltool.cli.main import app
from tltool.engine import cluster_address
from tltool.workflows import cluster
from tltool.workflows.workers import TABLE


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, ["cluster", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_ray_job_of_kuberay_has_the_keys_of_its_schema():
    options = ("--machines", 8, "--gpus", 1, "--image", "registry.example/tltool:1.0")
    result = tltool("manifest", "kuberay", *options, "--command", "finetune '/shared/my photos'")
    job = yaml.safe_load(result.stdout)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec["entrypoint"] == "tltool finetune '/shared/my photos' --cluster auto"
    assert set(spec) == {
        "entrypoint", "submissionMode", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
        "rayClusterSpec",
    }  # fmt: skip
    cluster_spec = spec["rayClusterSpec"]
    assert set(cluster_spec) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert cluster_spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    (workers,) = cluster_spec["workerGroupSpecs"]
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (8, 8, 8)
    for group in (workers, cluster_spec["headGroupSpec"]):  # the head trains
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == "registry.example/tltool:1.0"
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_batch_script_of_slurm_starts_ray_on_every_machine():
    script = tltool("manifest", "slurm", "--machines", 4, "--cpus", 16).stdout
    assert script.startswith("#!/bin/bash\n#SBATCH --job-name=tltool\n#SBATCH --nodes=4\n")
    assert "#SBATCH --requeue\n" in script and "--gpus" not in script
    assert "    tltool finetune /shared/photos --out /shared/runs/a --export-to" in script
    assert (
        "[ -f /shared/runs/a/recipe.yaml ]; then\n        tltool runs resume /shared/runs/a "
        in script
    )
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    command = "predict /shared/model /shared/new --output /shared/new.csv"
    assert f"tltool {command} --cluster" in tltool("manifest", "slurm", "--command", command).stdout
    assert "--gpus-per-node=2" in tltool("manifest", "slurm", "--gpus", 2).stdout


def test_a_machine_of_slurm_does_not_wait_without_end_for_the_first():
    script = tltool("manifest", "slurm").stdout
    functions, _, last = script.partition("\nsrun ")
    assert last.startswith("--kill-on-bad-exit=1 bash -c machine")
    command = (
        f"scontrol() {{ echo first; }}\n{functions}\n"
        "first_answers() { false; }\nSECONDS=601\nother_machine"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 5 and "the first machine has not started Ray" in done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate /shared/model /shared/new", "only finetune, runs resume, recipes sweep,"),
        ("finetune 'x", "quote"),
        ("finetune /shared/photos --workers 4", "adds --cluster itself"),
    ],
)
def test_a_command_that_cannot_use_the_cluster_is_refused(command, message):
    result = tltool("manifest", "slurm", "--command", command)
    assert result.exit_code == 2 and message in result.stderr


def test_a_ray_job_without_an_image_is_refused():
    result = tltool("manifest", "kuberay")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: a RayJob of KubeRay needs --image")


class Checked(LocalEngine):
    """The machines of a cluster are this process."""

    nodes = 1
    machines: ClassVar[Mapping[str, str]] = {"0": "node-1"}

    def map(self, work, numbers):
        return ((number, {**record, "node": "0"}) for number, record in super().map(work, numbers))

    def facts(self) -> dict[str, Any]:
        return {"engine": "local", "nodes": 1, "workers": 1, "arithmetic": ""}


def test_a_machine_that_does_not_answer_is_named(monkeypatch):
    class Engine(Checked):
        machines: ClassVar[Mapping[str, str]] = {**Checked.machines, "7": "node-7"}

    monkeypatch.setattr(cluster, "_SECONDS", 0.2)
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    monkeypatch.setattr(cluster, "open_workers", lambda *_, **__: nullcontext(Engine(TABLE)))
    result = tltool("check", "--workers", 1)
    assert result.exit_code == 5
    text = " ".join(result.stderr.split())
    assert "1 of 2 machines answered" in text and "but not: node-7" in text


@pytest.mark.parametrize("gone", [False, True])
def test_a_check_names_the_machine_that_does_not_see_the_files(tmp_path, monkeypatch, gone):
    class Engine(Checked):
        def map(self, work, numbers):
            if gone:
                (probe,) = tmp_path.iterdir()
                probe.unlink()
            return super().map(work, numbers)

    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    monkeypatch.setattr(cluster, "open_workers", lambda *_, **__: nullcontext(Engine(TABLE)))
    result = tltool("check", "--workers", 1, "--folder", tmp_path, "--json")
    document = json.loads(result.stdout)
    if gone:
        assert result.exit_code == 5
        assert "does not see" in document["error"]["message"]
    else:
        assert result.exit_code == 0 and document["machines"] == {"node-1": 2}
        assert document["answered"] == 1
    assert not list(tmp_path.iterdir())
