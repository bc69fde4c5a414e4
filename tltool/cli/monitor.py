"""tltool monitor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal import shared_options
from tltool.cli.terminal.console import err, line, out, print_json, print_table, printable
from tltool.cli.terminal.error_output import guarded, report_error
from tltool.cli.terminal.streams import before_verdict
from tltool.errors import GateError

if TYPE_CHECKING:
    from tltool.evaluation.drift.monitor_result import MonitorResult


@guarded
def monitor(
    model: shared_options.Model,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|FILE",
            help="New images, folders or other sources of images; or one file of "
            "`tltool predict --output` or `tltool serve --log`.",
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Table with the columns path and label, for the measured accuracy.",
        ),
    ] = None,
    asserts: Annotated[
        list[str] | None,
        typer.Option(
            "--assert",
            metavar="METRIC<=NUMBER",
            help="Condition such as 'drift<=0.2'; if it is not met, exit with code 4. Metrics: "
            "drift (0 to 1, 0 if none is found), psi_classes, psi_confidence, feature_auc, "
            "ood_rate, accuracy, estimated_accuracy. May be repeated.",
            rich_help_panel=shared_options.RESULT,
        ),
    ] = None,
    report: shared_options.Report = None,
    pixels: shared_options.Pixels = None,
    trust: shared_options.TrustModel = False,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Find drift: how new images differ from the validation images; estimate the accuracy."""
    from tltool.cli.terminal.progress import shown
    from tltool.evaluation.metrics.asserts import check_drift_asserts, require_asserts
    from tltool.workflows.monitoring.label_file import check_label_file
    from tltool.workflows.monitoring.prediction_file import has_predictions
    from tltool.workflows.preflight.arguments import check_page
    from tltool.workflows.preflight.model_arguments import check_inputs, check_trained_model

    conditions = asserts or []
    check_drift_asserts(conditions)
    if report is not None:
        check_page(report)
    if labels is not None:
        check_label_file(labels)
    check_trained_model(model, images=images)
    check_inputs(images)
    has_predictions(images, pixels=pixels, trust=trust)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.monitor import monitor as workflow

        result = workflow(
            model,
            images,
            labels=labels,
            asserts=conditions,
            report=report,
            pixels=pixels,
            trust=trust,
            offline=offline,
            observer=display,
        )
    with before_verdict():
        print_json(result.to_json()) if json else _show(result)
    if report is not None:
        line(err(), f"wrote {report}")
    try:
        require_asserts(result.asserts)
    except GateError as problem:  # stdout already has the JSON document
        report_error(problem)
        raise typer.Exit(problem.exit_code) from None


def _show(result: "MonitorResult") -> None:
    from tltool.evaluation.drift.monitor_result import (
        TEST_COLUMNS,
        describe_details,
        describe_false_alarms,
        describe_verdict,
        row_of_test,
    )

    console = out()
    line(console)
    colour = "yellow" if result.drift.found else "bold"
    line(console, (printable(describe_verdict(result)), colour))
    for sentence in describe_details(result):
        line(console, printable(sentence))
    line(console)
    print_table(console, TEST_COLUMNS, [row_of_test(test) for test in result.drift.tests])
    line(console, (describe_false_alarms(result.drift), "dim"))
    for one in result.asserts:
        mark = ("met      ", "green") if one["passed"] else ("not met  ", "red")
        line(console, mark, printable(one["assert"]))
