"""tltool suggest."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.console import line, out, print_json, print_table, printable
from tltool.cli.terminal.error_output import guarded
from tltool.errors import UsageError


@guarded
def suggest(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="UNLABELLED",
            help="Images, folders or other sources of images; tltool review opens suggestions "
            "only if they are files.",
        ),
    ],
    run: Annotated[
        Path, typer.Option("--run", metavar="RUN", help="Folder of the run whose model to improve.")
    ],
    budget: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="How many images to suggest at most.")
    ] = 50,
    strategy: Annotated[
        Literal["mixed", "uncertain", "diverse", "random"],
        typer.Option(
            metavar="mixed|uncertain|diverse|random",
            help="mixed: uncertain images of every predicted class that differ from each other, "
            "and some out-of-distribution ones.",
        ),
    ] = "mixed",
    ood_share: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Share of out-of-distribution images with --strategy mixed.",
        ),
    ] = 0.1,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="Random seed of --strategy random.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the suggestions to this CSV file; it must not exist."
        ),
    ] = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Suggest which unlabelled images to label next, with a reason for each."""
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.model_arguments import check_inputs, check_trained_model

    check_trained_model(run, images=images)
    check_inputs(images)
    if output is not None and output.exists():
        raise UsageError(
            f"'{output}' exists", hint="no file is replaced: give another name with --output"
        )
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.suggest import suggest as workflow

        suggestions = workflow(
            images,
            run=run,
            budget=budget,
            strategy=strategy,
            ood_share=ood_share,
            seed=seed,
            output=output,
            offline=offline,
            observer=display,
        )
    if json:
        print_json([{**asdict(one), "path": str(one.path)} for one in suggestions])
    elif output is not None:
        line(out(), f"{len(suggestions):,} images to label, see {output}")
    else:
        rows = [
            (printable(str(one.path)), one.predicted, f"{one.confidence:.3f}", one.reason)
            for one in suggestions
        ]
        print_table(out(), ("image", "predicted", "confidence", "reason"), rows)
