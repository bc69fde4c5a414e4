"""The files by which Kubernetes or SLURM start a Ray cluster for one command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from tltool.errors import UsageError

_RAY = "2.60.0"
EXAMPLE = "finetune /shared/photos --out /shared/runs/a --export-to /shared/saved_models"
"""What is written elsewhere than on the shared volume ends with the machine."""

VERBS = (
    "finetune", "runs resume", "recipes sweep", "predict", "compare", "data check",
)  # fmt: skip
"""The commands that have ``--cluster``."""
Scheduler = Literal["kuberay", "slurm"]


@dataclass(frozen=True)
class ClusterJob:
    """A command that is to run on a cluster.

    Attributes:
        command: of tltool, without ``tltool`` and without ``--cluster``.
        name: of the job.
        machines: number of machines with workers.
        cpus: CPUs of each; each is a worker process. The head, which trains, has as many.
        gpus: GPUs of each, and of the head.
        memory: of each, GiB.
        image: container image with tltool and Ray; only KubeRay needs one.
        volume: the claim of a volume that all machines share, mounted as /shared.
    """

    command: str
    name: str = "tltool"
    machines: int = 2
    cpus: int = 4
    gpus: int = 0
    memory: int = 16
    image: str | None = None
    volume: str = "shared"

    @property
    def words(self) -> list[str]:
        """The words of the command line, without ``--cluster``.

        Raises:
            UsageError: it names workers itself, or is a command that has none.
        """
        try:
            words = shlex.split(self.command)
        except ValueError:
            raise UsageError(
                f"--command '{self.command}': a quote is not closed", hint="close it"
            ) from None
        if not any(words[: len(verb)] == verb for verb in map(str.split, VERBS)):
            raise UsageError(
                f"--command '{self.command}': only {', '.join(VERBS)} use a cluster",
                hint=f"such as --command '{EXAMPLE}'",
            )
        if any(word.startswith(("--cluster", "--workers")) for word in words):
            raise UsageError(
                f"--command '{self.command}': the file adds --cluster itself",
                hint="leave out --cluster and --workers",
            )
        return ["tltool", *words]

    @property
    def run_folder(self) -> str | None:
        """The run folder of a new run; None if the command does not name it."""
        words = iter(self.words)
        for word in words:
            name, equals, value = word.partition("=")
            if name == "--out":
                return value if equals else next(words, None)
        return None


def cluster_file(scheduler: Scheduler, job: ClusterJob) -> str:
    """Return the file that runs a command on a new cluster, which ends with it.

    Args:
        scheduler: kuberay for a RayJob of Kubernetes, slurm for a batch script.
        job: what to run, and on what.

    Raises:
        UsageError: the command is none, or KubeRay has no image.

    Examples:
        >>> print(cluster_file("slurm", ClusterJob("finetune /shared/photos", machines=4)))
    """
    if scheduler == "slurm":
        return _batch_script(job)
    if job.image is None:
        raise UsageError(
            "a RayJob of KubeRay needs --image: a container image with tltool and Ray",
            hint="docs/cluster.md shows how to build one from tltool's Dockerfile",
        )
    return yaml.safe_dump(_ray_job(job), sort_keys=False, width=1000)


def _ray_job(job: ClusterJob) -> dict[str, Any]:
    head = _pod("ray-head", job)
    workers = _pod("ray-worker", job)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": job.name},
        "spec": {
            "entrypoint": shlex.join([*job.words, "--cluster", "auto"]),
            "submissionMode": "K8sJobMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "rayClusterSpec": {
                "rayVersion": _RAY,
                # the head trains: it has what a worker has, and no piece of work
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
                    "template": head,
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": job.machines,
                        "minReplicas": job.machines,
                        "maxReplicas": job.machines,
                        "rayStartParams": {},
                        "template": workers,
                    }
                ],
            },
        },
    }


def _pod(name: str, job: ClusterJob) -> dict[str, Any]:
    size = {"cpu": str(job.cpus), "memory": f"{job.memory}Gi"}
    size |= {"nvidia.com/gpu": str(job.gpus)} if job.gpus else {}
    container = {
        "name": name,
        "image": job.image,
        "resources": {"limits": size, "requests": dict(size)},
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    }
    volume = {"name": "shared", "persistentVolumeClaim": {"claimName": job.volume}}
    return {"spec": {"containers": [container], "volumes": [volume]}}


def _batch_script(job: ClusterJob) -> str:
    gpus = f"#SBATCH --gpus-per-node={job.gpus}\n" if job.gpus else ""
    head = f"""#!/bin/bash
#SBATCH --job-name={job.name}
#SBATCH --nodes={job.machines}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={job.cpus}
#SBATCH --mem={job.memory}G
{gpus}#SBATCH --requeue
#SBATCH --open-mode=append
"""
    return head + _BATCH_SCRIPT.replace("COMMAND", _batch_command(job))


def _batch_command(job: ClusterJob) -> str:
    """Return the lines that run the command; a job that is requeued resumes its run."""
    command = f'{shlex.join(job.words)} --cluster "$address"'
    if job.run_folder is None:
        return f"    {command}"
    folder = shlex.quote(job.run_folder)
    return f"""    if [ "${{SLURM_RESTART_COUNT:-0}}" -gt 0 ] && [ -f {folder}/recipe.yaml ]; then
        tltool runs resume {folder} --cluster "$address"
    else
        {command}
    fi"""


_BATCH_SCRIPT = """
# Ray of this job on its first machine: other jobs have another port and another token
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address="$first:$((20000 + SLURM_JOB_ID % 10000))"
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
RAY_AUTH_MODE=token
export address RAY_AUTH_TOKEN RAY_AUTH_MODE

command_of_job() {
COMMAND
}

machines_that_answer() {
    python -c '
import os, ray
ray.init(os.environ["address"], log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
' 2> /dev/null
}

first_machine() {
    ray start --head --port "${address##*:}" --num-cpus "$SLURM_CPUS_PER_TASK" \\
        --include-dashboard=false --block > /dev/null &
    ray=$!
    trap 'kill $ray' EXIT
    until [ "$(machines_that_answer)" = "$SLURM_JOB_NUM_NODES" ]; do
        kill -0 $ray || exit 5
        if [ $SECONDS -gt 600 ]; then
            echo "not all machines have started Ray within ten minutes" >&2
            exit 5
        fi
    done
    command_of_job
}

first_answers() {
    (exec 3<> "/dev/tcp/${address%:*}/${address##*:}") 2> /dev/null
}

other_machine() {
    until first_answers; do
        if [ $SECONDS -gt 600 ]; then
            echo "the first machine has not started Ray within ten minutes" >&2
            exit 5
        fi
        sleep 1
    done
    while first_answers; do  # Ray may be too early here: then it is started again
        ray start --address "$address" --num-cpus "$SLURM_CPUS_PER_TASK" --block > /dev/null &
        ray=$!
        while kill -0 $ray 2> /dev/null && { first_answers || { sleep 10; first_answers; }; }; do
            sleep 2
        done
        kill $ray 2> /dev/null || true
    done
}

machine() {
    if [ "$SLURM_NODEID" = 0 ]; then first_machine; else other_machine; fi
}

export -f command_of_job machines_that_answer first_machine first_answers other_machine machine
srun --kill-on-bad-exit=1 bash -c machine  # no machine waits for one that has failed
"""
