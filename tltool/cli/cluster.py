"""tltool cluster."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import shared_options, training
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.typer_app import Commands
from tltool.errors import UsageError, counted
from tltool.workflows.cluster_files import EXAMPLE, ClusterJob, cluster_file

app = Commands(help="Clusters of several machines: check one, or write the file that starts one.")


@app.command("check", examples=["tltool cluster check --cluster auto --folder /shared/runs"])
@guarded
def check(
    cluster: training.Cluster = None,
    workers: training.Workers = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Check that every machine sees the files in this folder."
        ),
    ] = None,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Check that all machines of a cluster have the same versions and arithmetic."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.workers import checked_workers

    address = "auto" if cluster is None and workers is None else cluster
    checked_workers(workers, address)
    if folder is not None and not folder.is_dir():
        raise UsageError(
            f"there is no folder '{folder}'", hint="give the folder of the runs on the shared disk"
        )
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.cluster import check_cluster

        facts = check_cluster(workers, address, folder=folder, observer=display)
    if json:
        print_json(facts)
        return
    rows = [[name, "same versions, same arithmetic"] for name in facts["machines"]]
    workers_there = counted(facts["workers"], "worker", "workers")
    machines_there = counted(facts["nodes"], "machine", "machines")
    title = f"{workers_there} on {machines_there}, of which {facts['answered']} answered"
    print_table(out(), ["machine", "result"], rows, title=title)


@app.command(
    "manifest",
    examples=[
        "tltool cluster manifest kuberay --machines 8 --image registry.example/tltool:1.0",
    ],
)
@guarded
def manifest(
    scheduler: Annotated[
        str, typer.Argument(metavar="kuberay|slurm", help="What starts the machines.")
    ],
    command: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="What the cluster runs, without tltool and --cluster, such as finetune DATA.",
        ),
    ] = EXAMPLE,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the job.")] = "tltool",
    machines: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of machines with workers.")
    ] = 2,
    cpus: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="CPUs of each machine, one worker for each; KubeRay's head, which trains, has as "
            "many.",
        ),
    ] = 4,
    gpus: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="GPUs of each machine, and of the head of KubeRay."),
    ] = 0,
    memory: Annotated[int, typer.Option(metavar="GIB", min=1, help="Memory of each machine.")] = 16,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="KubeRay: container image with tltool and Ray. Required for it: the image of "
            "tltool's Dockerfile has no Ray.",
        ),
    ] = None,
    volume: Annotated[
        str,
        typer.Option(
            metavar="CLAIM",
            help="KubeRay: claim of the volume that all machines share, mounted as /shared.",
        ),
    ] = "shared",
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Print a RayJob for KubeRay, or a batch script for SLURM, that runs a command of tltool."""
    job = ClusterJob(command, name, machines, cpus, gpus, memory, image, volume)
    if scheduler not in ("kuberay", "slurm"):
        raise UsageError(
            f"'{scheduler}': expected kuberay or slurm",
            hint=shlex.join(["tltool", "cluster", "manifest", "kuberay"]),
        )
    text = cluster_file("slurm" if scheduler == "slurm" else "kuberay", job)
    if json:
        print_json({"scheduler": scheduler, "file": text})
        return
    for each in text.splitlines():
        line(out(), each)
