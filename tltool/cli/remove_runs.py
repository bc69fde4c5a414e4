"""tltool runs rm, tltool runs prune."""

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.completion import complete_run
from tltool.cli.terminal.console import err, line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.errors import Interrupted, UsageError, counted
from tltool.runs.readable_size import readable_size

if TYPE_CHECKING:
    from tltool.workflows.remove_runs import RemovableRun

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Remove also a run that another run or an exported model refers to."
    ),
]


@guarded
def remove(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of runs.", autocompletion=complete_run),
    ],
    yes: Yes = False,
    force: Force = False,
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Remove runs. Only folders of runs are removed, and none with a file that no run writes."""
    from tltool.workflows.remove_runs import check_references, removable_run

    once = {folder.absolute().resolve(): folder for folder in reversed(runs)}
    found = [removable_run(folder) for folder in reversed(once.values())]
    if not force:
        check_references(found)
    _remove(found, [], yes=yes, json=json)


@guarded
def prune(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder with the runs.")
    ] = Path("runs"),
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, help="Only runs that began more than DAYS days ago."),
    ] = None,
    keep_best: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Of the finished runs on the same images, keep the N with the highest accuracy on "
            "the validation set.",
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only runs that ended with an error.")
    ] = False,
    yes: Yes = False,
    force: Force = False,
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Remove the runs in a folder that meet all conditions given: age, rank, failure."""
    from tltool.workflows.remove_runs import select_runs

    found, kept = select_runs(
        folder,
        older_than=older_than,
        keep_best=keep_best,
        failed=failed,
        now=datetime.datetime.now(datetime.UTC),
    )
    kept += [
        f"kept: '{run.folder}': {run.refers} (--force removes it all the same)"
        for run in found
        if run.refers and not force
    ]
    _remove([run for run in found if force or not run.refers], kept, yes=yes, json=json)


def _remove(runs: "Sequence[RemovableRun]", kept: Sequence[str], *, yes: bool, json: bool) -> None:
    """Remove runs, after asking unless ``yes``; print which."""
    from tltool.workflows.remove_runs import remove_runs

    if runs and not yes:
        _confirm(runs, kept, json=json)
    freed = remove_runs(runs)
    if json:
        print_json({"removed": [run.to_json() for run in runs], "bytes": freed, "kept": kept})
        return
    if yes or not runs:
        for text in kept:
            line(err(), text)
    for run in runs if yes else ():
        line(err(), f"removed {run.folder}")
    removed = counted(len(runs), "run", "runs")
    line(out(), f"removed {removed}, {readable_size(freed)}" if runs else "no run to remove")


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _confirm(runs: "Sequence[RemovableRun]", kept: Sequence[str], *, json: bool) -> None:
    """Show what would be removed, and ask.

    Raises:
        UsageError: nobody can answer.
        Interrupted: the answer is no.
    """
    if json or not _can_ask():
        raise UsageError(
            f"{counted(len(runs), 'run', 'runs')} would be removed, and nobody can be asked",
            hint="add --yes to remove without asking",
        )
    rows = [
        [
            str(run.folder),
            run.status,
            run.started.replace("T", " ").rstrip("Z"),
            "" if run.accuracy is None else f"{run.accuracy:.3f}",
            readable_size(run.bytes),
        ]
        for run in runs
    ]
    print_table(err(), ["run", "status", "started (UTC)", "validation", "size"], rows)
    for text in kept:
        line(err(), text)
    if not typer.confirm(
        "Remove this run?" if len(runs) == 1 else f"Remove these {len(runs):,} runs?", err=True
    ):
        raise Interrupted("nothing was removed")
