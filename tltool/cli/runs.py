"""tltool runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.gate_failures import show_results_first
from tltool.cli.terminal.results import duration, show_fields, show_metrics, show_next
from tltool.cli.terminal.results import show_run as show_result
from tltool.cli.terminal.typer_app import Commands

if TYPE_CHECKING:
    from tltool.workflows.finetune import FinetuneResult
    from tltool.workflows.list_runs import RunDetails
    from tltool.workflows.reproduce import Reproduction

app = Commands(help="Training runs: list, show, resume, reproduce, pack.")
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]


@app.command("list")
@guarded
def list_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder that holds runs.")
    ] = Path("runs"),
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List runs with their status and accuracy."""
    from tltool.workflows.list_runs import list_runs as listed

    rows = listed(folder)
    if json:
        print_json(rows)
        return
    columns = ["run", "status", "started (UTC)", "backbone", "accuracy", "log-loss", "MB"]
    print_table(out(), columns, [_cells(row) for row in rows])
    for row in rows:
        if "error" in row:
            line(out(), (row["error"], "dim"))


@app.command("show")
@guarded
def show(run: Run, json: options.Json = False, debug: options.Debug = False) -> None:
    """Show data, settings, environment and results of a run."""
    from tltool.workflows.list_runs import show_run

    details = show_run(run)
    if json:
        print_json(details.to_json())
        return
    if details.metrics:
        show_metrics(details.metrics)
    show_fields({name: value for name, value in _fields(details).items() if value})
    if details.status == "interrupted":
        show_next(["tltool", "runs", "resume", str(run)])


@app.command("resume")
@guarded
def resume(
    run: Run,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Finish a run that was killed or interrupted, bit-identical to one that never stopped."""
    from tltool.cli.terminal.progress import shown
    from tltool.runs.layout import RunLayout
    from tltool.workflows.list_runs import check_resumable, show_run

    # this check needs no TensorFlow, which takes seconds to load
    check_resumable(RunLayout(run), show_run(run).status)
    with show_results_first(json=json), shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.resume import resume as workflow

        result = workflow(run, offline=offline, observer=display)
    _show_finished(result, json=json)


@app.command("reproduce")
@guarded
def reproduce(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or a file of `runs pack`.")
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="The images, where they lie elsewhere now."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="The separate test images, where they lie elsewhere now."
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
            metavar="NUMBER", min=0, help="Largest difference of accuracy and log-loss that passes."
        ),
    ] = 0.02,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Reproduce a finished run and compare. Exit code 4 when the result differs."""
    from tltool.cli.terminal.progress import shown

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
        typer.Option("--output", metavar="FILE", help="The file; by default RUN.tar.gz."),
    ] = None,
    model: Annotated[bool, typer.Option("--model", help="Pack the trained model too.")] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Pack recipe, manifest, split, metrics and packages, for `runs reproduce` elsewhere."""
    from tltool.workflows.pack_run import pack as workflow

    file = workflow(run, out_file, model=model)
    if json:
        print_json({"file": str(file), "bytes": file.stat().st_size})
        return
    line(out(), f"{file}  ({file.stat().st_size / 1e6:.1f} MB)")
    show_next(["tltool", "runs", "reproduce", str(file), "--data", "DATA"])


def _cells(row: dict[str, Any]) -> Sequence[str]:
    def number(name: str) -> str:
        value = row.get(name)
        return "" if value is None else f"{value:.3f}"

    return [
        row["run"],
        row["status"],
        row.get("started", "").replace("T", " ").rstrip("Z"),
        row.get("backbone") or "",
        number("accuracy"),
        number("log_loss"),
        f"{row['bytes'] / 1e6:.0f}",
    ]


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
        "processor": manifest.machine["processor"],
        "tltool": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        "container": manifest.container,
        "time": duration(seconds) if seconds else None,
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
    else:
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
