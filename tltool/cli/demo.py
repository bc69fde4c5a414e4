"""tltool demo."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.console import line, out, print_json
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.results import show_fields, show_metrics, show_next


@guarded
def demo(
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder for digits, run and export.")
    ] = Path("tltool-demo"),
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Train, evaluate, export and predict on 1797 handwritten digits."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.run import check_demo

    check_demo(folder, offline=offline)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.demo import demo as workflow

        result = workflow(folder, offline=offline, observer=display)
    if json:
        print_json(result.document())
        return
    show_metrics(result.metrics)
    name, share = result.answer
    line(out())
    line(out(), f"the exported model calls {result.image} a ", (name, "bold"), f" ({share:.3f})")
    show_fields(result.paths())
    show_next(["tltool", "predict", str(result.export.parent), str(result.image.parent)])
