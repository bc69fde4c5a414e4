"""The entry point. Nothing here may import TensorFlow: `tltool --help` must be fast."""

import os
import sys
from typing import Annotated

import typer

from tltool import __version__
from tltool.cli import (
    backbones,
    compare,
    data,
    demo,
    evaluate,
    explain,
    export,
    finetune,
    learning_curve,
    predict,
    preview,
    recipes,
    runs,
    samples,
    serve,
    weights,
)
from tltool.cli.terminal import interrupts, native_logs
from tltool.cli.terminal.error_output import close_output
from tltool.cli.terminal.typer_app import Commands

app = Commands(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning for image classification with Keras.",
)
app.command("finetune")(finetune.finetune)
app.command("preview")(preview.preview)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.command("compare")(compare.compare)
app.command("learning-curve")(learning_curve.learning_curve)
app.command("export")(export.export)
app.add_typer(backbones.app, name="backbones")
app.add_typer(data.app, name="data")
app.add_typer(recipes.app, name="recipes")
app.add_typer(runs.app, name="runs")
app.add_typer(weights.app, name="weights")
app.add_typer(samples.app, name="samples")
app.command("serve")(serve.serve)
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
    """Run the command line in this process, with its own signal handlers and streams."""
    _open_streams()
    native_logs.own_process()
    interrupts.watch()
    try:
        app(prog_name="tltool")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        close_output()


def _open_streams() -> None:
    """Replace closed streams by the null device, and escape what a stream cannot encode."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        getattr(sys, name).reconfigure(errors="backslashreplace")
