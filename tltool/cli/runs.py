"""tltool runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tltool.cli.remove_runs import prune, remove
from tltool.cli.terminal import shared_options, training
from tltool.cli.terminal.completion import complete_run
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.gate_failures import show_results_first
from tltool.cli.terminal.results import show_fields, show_metrics, show_next
from tltool.cli.terminal.results import show_run as show_result
from tltool.cli.terminal.streams import before_verdict
from tltool.cli.terminal.typer_app import Commands
from tltool.errors import reading
from tltool.runs.duration import readable_duration
from tltool.runs.readable_size import readable_size

if TYPE_CHECKING:
    from tltool.workflows.finetune import FinetuneResult
    from tltool.workflows.list_runs import RunDetails
    from tltool.workflows.reproduce import Reproduction

app = Commands(help="Training runs: list, show, resume, reproduce, pack, rm, prune.")
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run.", autocompletion=complete_run)
]


@app.command("list")
@guarded
def list_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder with the runs.")
    ] = Path("runs"),
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """List runs with their status and their accuracy on validation and test images."""
    from tltool.workflows.list_runs import describe_test_sets
    from tltool.workflows.list_runs import list_runs as listed

    rows = listed(folder)
    if json:
        print_json(rows)
        return
    columns = ["run", "status", "started (UTC)", "backbone", "validation", "test", "size"]
    title = "Accuracy on validation and test images, with 95 % intervals"
    print_table(out(), columns, [_cells(row) for row in rows], title=title, whole_words=True)
    for row in rows:
        if "error" in row:
            line(out(), (row["error"], "dim"))
    for sentence in describe_test_sets(rows):
        line(out())
        line(out(), sentence)


@app.command("show")
@guarded
def show(run: Run, json: shared_options.Json = False, debug: shared_options.Debug = False) -> None:
    """Show data, settings, environment and results of a run."""
    from tltool.workflows.list_runs import show_run

    details = show_run(run)
    if json:
        print_json(details.to_json())
        return
    if details.metrics:
        with reading(run / "metrics.json", "file of metrics", hint="restore it from a copy"):
            show_metrics(details.metrics)
    show_fields({name: value for name, value in _fields(details).items() if value})
    if details.status == "interrupted":
        show_next(["tltool", "runs", "resume", str(run)])


@app.command("resume")
@guarded
def resume(
    run: Run,
    workers: training.Workers = None,
    cluster: training.Cluster = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Finish an interrupted run; the result is bit-identical to that of an uninterrupted run."""
    from tltool.cli.terminal.progress import shown
    from tltool.runs.layout import RunLayout
    from tltool.runs.peers import read_peers
    from tltool.workflows.list_runs import check_resumable, show_run
    from tltool.workflows.preflight.python_objects import check_given_again
    from tltool.workflows.workers import checked_workers

    # these checks need no TensorFlow, which takes seconds to load
    checked_workers(workers, cluster)
    peers = read_peers()
    if peers is None or peers.writes:  # the others may not have the folder
        details = show_run(run)
        check_resumable(RunLayout(run), details.status)
        check_given_again(run, details.manifest, verb="resume")
    with show_results_first(json=json), shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.resume import resume as workflow

        result = workflow(run, offline=offline, workers=workers, cluster=cluster, observer=display)
    _show_finished(result, json=json)


@app.command("reproduce")
@guarded
def reproduce(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|FILE",
            help="Folder of a run, or a file written by `runs pack`.",
            autocompletion=complete_run,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="New location of the run's images, if they were moved."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="New location of the separate test images, if they were moved."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file of pretrained weights for the backbone."),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder of the second run; by default runs/NAME-UTC."
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0, help="Largest allowed difference in accuracy and in log-loss."
        ),
    ] = 0.02,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Repeat a finished run and compare the results. Exit code 4 if they differ."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.reproduction import check_reproduction

    check_reproduction(run, data=data, test=test, weights=weights, out=out_folder)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.reproduce import reproduce as workflow

        result = workflow(
            run,
            data=data,
            test=test,
            weights=weights,
            out=out_folder,
            tolerance=tolerance,
            offline=offline,
            observer=display,
        )
    with before_verdict():
        if json:
            print_json(_document(result))
        else:
            _show_reproduction(result, tolerance)
    if result.verdict == "differs":
        raise typer.Exit(4)


@app.command("pack")
@guarded
def pack(
    run: Run,
    out_file: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="File to write; by default RUN.tar.gz."),
    ] = None,
    model: Annotated[bool, typer.Option("--model", help="Pack the trained model too.")] = False,
    json: shared_options.Json = False,
    debug: shared_options.Debug = False,
) -> None:
    """Pack the files that `runs reproduce` needs on another machine; images are not included."""
    from tltool.workflows.pack_run import pack as workflow

    file = workflow(run, out_file, model=model)
    if json:
        print_json({"file": str(file), "bytes": file.stat().st_size})
        return
    line(out(), f"{file}  ({readable_size(file.stat().st_size)})")
    show_next(["tltool", "runs", "reproduce", str(file), "--data", "DATA"])


app.command("rm", examples=["tltool runs rm runs/vgg16-20261201-101500"])(remove)
app.command("prune", examples=["tltool runs prune --older-than 30 --keep-best 3"])(prune)


def _cells(row: dict[str, Any]) -> Sequence[str]:
    return [
        row["run"],
        row["status"],
        row.get("started", "").replace("T", " ").rstrip("Z"),
        row.get("backbone") or "",
        _accuracy(row.get("validation")),
        _accuracy(row.get("test")),
        readable_size(row["bytes"]),
    ]


def _accuracy(result: dict[str, Any] | None) -> str:
    """Return the accuracy with its interval, and the number of images."""
    if result is None:
        return ""
    rate, n = result["accuracy"], result["n"]
    interval = "" if rate["low"] is None else f" {rate['low']:.3f}–{rate['high']:.3f}"
    return f"{rate['value']:.3f}{interval}" + ("" if n is None else f" n={n}")


def _fields(details: "RunDetails") -> dict[str, Any]:
    manifest = details.manifest
    seconds = (manifest.seconds or {}).get("total")
    return {
        "run": str(details.folder),
        "status": details.status,
        "started": manifest.started,
        "data": manifest.options.data,
        "data digest": manifest.data_digest,
        "weights": manifest.weights_digest,
        "model": manifest.model_digest,
        "export": manifest.export,
        "seed": str(manifest.seed),
        "device": manifest.device,
        "processor": manifest.machine.get("processor"),
        "tltool": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        "container": manifest.container,
        "time": readable_duration(seconds) if seconds else None,
    }


def _show_finished(result: "FinetuneResult", *, json: bool) -> None:
    document = {
        "run": str(result.run),
        "export": str(result.export) if result.export else None,
        "metrics": result.metrics,
        "seconds": result.seconds,
    }
    if json:
        print_json(document)
    elif result.metrics:  # the first of several workers has them
        show_result(document)


def _document(result: "Reproduction") -> dict[str, Any]:
    return {
        "verdict": result.verdict,
        "run": str(result.run),
        "weights_identical": result.weights_identical,
        "largest_difference": result.largest,
        "metrics": [{"name": n, "first": a, "second": b} for n, a, b in result.metrics],
        "environment": [{"name": n, "first": a, "second": b} for n, a, b in result.environment],
    }


_MOST_ROWS = 20


def _show_reproduction(result: "Reproduction", tolerance: float) -> None:
    console = out()
    line(console)
    line(console, (result.verdict, "bold"))
    if result.metrics:
        line(
            console,
            f"largest difference of accuracy or log-loss {result.largest:.4g} "
            f"(allowed {tolerance:g})",
        )
        rows = [[name, _text(a), _text(b)] for name, a, b in result.metrics[:_MOST_ROWS]]
        print_table(console, ["figure", "first run", "this run"], rows)
        if len(result.metrics) > _MOST_ROWS:
            line(console, f"and {len(result.metrics) - _MOST_ROWS} more; --json lists all")
    if result.environment:
        print_table(console, ["environment", "first run", "this run"], result.environment)
    show_fields({"run": result.run})


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
