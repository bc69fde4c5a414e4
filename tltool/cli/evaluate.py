"""tltool evaluate."""

from typing import Annotated, Literal

import typer

from tltool.cli.terminal import shared_options, training
from tltool.cli.terminal.console import err, line, print_json
from tltool.cli.terminal.error_output import guarded, report_error
from tltool.cli.terminal.results import show_metrics
from tltool.cli.terminal.streams import before_verdict
from tltool.errors import GateError, UsageError


@guarded
def evaluate(
    model: shared_options.Model,
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Labelled images: any data source of finetune."),
    ],
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(
            metavar="train|validation|test",
            help="Evaluate only the images of this split of the run.",
        ),
    ] = None,
    asserts: training.Asserts = None,
    strict: training.Strict = False,
    tta: shared_options.Tta = "none",
    report: shared_options.Report = None,
    pixels: shared_options.Pixels = None,
    trust: shared_options.TrustModel = False,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Evaluate a model on labelled images; classes are matched by name."""
    from tltool.cli.terminal.progress import shown
    from tltool.evaluation.metrics.asserts import check_asserts, require_asserts
    from tltool.workflows.preflight.arguments import check_page
    from tltool.workflows.preflight.model_arguments import check_evaluation

    if report is not None:
        check_page(report)
    conditions = asserts or []
    check_asserts(conditions, strict=strict)
    if strict and not conditions:
        raise UsageError("--strict needs --assert", hint="such as --assert 'accuracy>=0.9'")
    check_evaluation(model, data, asserts=conditions, split=split)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.evaluate import evaluate as workflow

        metrics = workflow(
            model,
            data,
            split=split,
            asserts=conditions,
            strict=strict,
            tta=tta,
            report=report,
            pixels=pixels,
            trust=trust,
            offline=offline,
            observer=display,
        )
    with before_verdict():
        if json:
            print_json(metrics)
        else:
            show_metrics(metrics)
    if report is not None:
        line(err(), f"wrote {report}")
    try:
        require_asserts(metrics["asserts"])
    except GateError as problem:  # stdout already has the JSON document
        report_error(problem)
        raise typer.Exit(problem.exit_code) from None
