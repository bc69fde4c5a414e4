"""The entry point. Nothing here may import TensorFlow: `tltool --help` must feel instant."""

import sys
from typing import Annotated

import typer

from tltool import __version__
from tltool.cli import backbones, demo, evaluate, finetune, predict, recipes, samples, weights

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning for Keras: a folder of photos in, a classifier you can trust out.",
)
app.command("finetune")(finetune.finetune)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("backbones")(backbones.backbones)
app.add_typer(recipes.app, name="recipes")
app.add_typer(weights.app, name="weights")
app.add_typer(samples.app, name="samples")
app.command("demo")(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tltool {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Transfer learning for Keras: a folder of photos in, a classifier you can trust out."""


def run() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
