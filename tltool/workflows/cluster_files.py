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
        image: container image with tltool and Ray.
        volume: the claim of a volume that all machines share, mounted as /shared.
    """

    command: str
    name: str = "tltool"
    machines: int = 2
    cpus: int = 4
    gpus: int = 0
    memory: int = 16
    image: str = "tltool:latest"
    volume: str = "shared"

    @property
    def full_command(self) -> str:
        """The command line.

        Raises:
            UsageError: it names workers itself, or is a command that has none.
        """
        try:
            words = shlex.split(self.command)
        except ValueError:
            raise UsageError(
                f"--command '{self.command}': a quote is not closed", hint="close it"
            ) from None
        if words[:1] != ["finetune"] and words[:2] != ["runs", "resume"]:
            raise UsageError(
                f"--command '{self.command}': only finetune and runs resume use a cluster",
                hint=f"such as --command '{EXAMPLE}'",
            )
        if any(word.startswith(("--cluster", "--workers")) for word in words):
            raise UsageError(
                f"--command '{self.command}': the file adds --cluster auto itself",
                hint="leave out --cluster and --workers",
            )
        return shlex.join(["tltool", *words, "--cluster", "auto"])


def cluster_file(scheduler: Scheduler, job: ClusterJob) -> str:
    """Return the file that runs a command on a new cluster, which ends with it.

    Args:
        scheduler: kuberay for a RayJob of Kubernetes, slurm for a batch script.
        job: what to run, and on what.

    Raises:
        UsageError: the command is none.

    Example:
        >>> print(cluster_file("slurm", ClusterJob("finetune /shared/photos", machines=4)))
    """
    if scheduler == "slurm":
        return _batch_script(job)
    return yaml.safe_dump(_ray_job(job), sort_keys=False, width=1000)


def _ray_job(job: ClusterJob) -> dict[str, Any]:
    head = _pod("ray-head", job)
    workers = _pod("ray-worker", job)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": job.name},
        "spec": {
            "entrypoint": job.full_command,
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
    return f"""#!/bin/bash
#SBATCH --job-name={job.name}
#SBATCH --nodes={job.machines}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={job.cpus}
#SBATCH --mem={job.memory}G
{gpus}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \\
  --num-cpus "$SLURM_CPUS_PER_TASK" -- {job.full_command}
"""
