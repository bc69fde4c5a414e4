"""tltool demo."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli import options
from tltool.cli.console import guarded, out, print_json
from tltool.cli.display import Display
from tltool.cli.finetune import show_metrics
from tltool.cli.native_logs import silence_native_logs


@guarded
def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for digits, run and export.")
    ] = Path("tltool-demo"),
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Do the main job on 1797 handwritten digits: train, evaluate, export, predict."""
    if not debug:
        silence_native_logs()
    with Display(quiet=quiet) as display:
        display.on_phase("start", "loading TensorFlow")
        from tltool.workflows.demo import demo as workflow

        result = workflow(folder, offline=offline, observer=display)
    if json:
        print_json(result.document())
        return
    show_metrics(result.metrics)
    console = out()
    name, share = result.answer
    console.print(f"\nthe exported model calls {result.photo} a [bold]{name}[/] ({share:.3f})\n")
    for what, path in result.paths().items():
        console.print(f"{what:<8}{path}", soft_wrap=True)
