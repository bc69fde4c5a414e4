"""The entry point. Nothing here may import TensorFlow: `tltool --help` must be fast."""

import sys
from typing import Annotated

import typer

from tltool import __version__
from tltool.cli import (
    backbones,
    cluster,
    compare,
    data,
    demo,
    evaluate,
    explain,
    export,
    finetune,
    learning_curve,
    monitor,
    predict,
    preview,
    promote,
    recipes,
    review,
    runs,
    samples,
    serve,
    suggest,
    weights,
)
from tltool.cli.terminal import interrupts, native_logs
from tltool.cli.terminal.error_output import report_error
from tltool.cli.terminal.streams import close_streams, open_streams
from tltool.cli.terminal.typer_app import Commands
from tltool.errors import TltoolError

app = Commands(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning for image classification with Keras.",
)
app.command(
    "finetune",
    examples=(
        "tltool finetune photos/ --recipe quick",
        "tltool finetune photos/ --epochs 10 --name flowers",
    ),
)(finetune.finetune)
app.command("preview", examples=["tltool preview photos/"])(preview.preview)
app.command("predict", examples=["tltool predict runs/RUN new.jpg more/ --top 3"])(predict.predict)
app.command("evaluate", examples=["tltool evaluate runs/RUN test-photos/"])(evaluate.evaluate)
app.command("explain", examples=["tltool explain runs/RUN new.jpg"])(explain.explain)
app.command("review", examples=["tltool review runs/RUN", "tltool review photos/"])(review.review)
app.command("suggest", examples=["tltool suggest unlabelled/ --run runs/RUN --budget 50"])(
    suggest.suggest
)
app.command(
    "monitor",
    examples=(
        "tltool monitor saved_models/NAME new-photos/",
        "tltool monitor saved_models/NAME served.csv --assert 'drift<=0.2'",
    ),
)(monitor.monitor)
app.command(
    "compare",
    examples=["tltool compare runs/A runs/B", "tltool compare photos/ --backbones vgg16,resnet50"],
)(compare.compare)
app.command("learning-curve", examples=["tltool learning-curve photos/"])(
    learning_curve.learning_curve
)
app.command("export", examples=["tltool export runs/RUN --format litert,onnx"])(export.export)
app.add_typer(backbones.app, name="backbones")
app.add_typer(cluster.app, name="cluster")
app.add_typer(data.app, name="data")
app.add_typer(recipes.app, name="recipes")
app.add_typer(runs.app, name="runs")
app.add_typer(weights.app, name="weights")
app.add_typer(samples.app, name="samples")
app.command("serve", examples=["tltool serve saved_models/NAME"])(serve.serve)
app.command("promote", examples=["tltool promote saved_models/NAME/1 --to saved_models/NAME"])(
    promote.promote
)
app.command("demo")(demo.demo)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"tltool {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Transfer learning for image classification with Keras."""


def run() -> None:
    """Run the command line, with signal handlers and streams of its own if the process is its own.

    It is not where a notebook runs the command line with ``%run``: there the kernel has replaced
    standard output, and must live on after Ctrl-C.
    """
    if sys.stdout is sys.__stdout__:
        open_streams()
        native_logs.own_process()
        interrupts.watch()
    sys.exit(_exit_code())


def _exit_code() -> int | str | None:
    """Run the command; return its exit code, once all its output is written."""
    try:
        code = _run_app()
        if not code:  # else an error was printed already
            sys.stdout.flush()
    except TltoolError as problem:
        report_error(problem)
        code = problem.exit_code
    except BrokenPipeError:  # the reader, such as `head`, has exited
        code = 0
    close_streams()
    return code


def _run_app() -> int | str | None:
    try:
        app(prog_name="tltool")
    except KeyboardInterrupt:
        return interrupts.exit_code()
    except SystemExit as end:
        return end.code
    return 0
