"""tltool compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli.terminal import shared_options, training
from tltool.cli.terminal.completion import complete_run
from tltool.cli.terminal.console import line, out, print_json, print_table, printable
from tltool.cli.terminal.error_output import guarded
from tltool.errors import UsageError
from tltool.runs.duration import readable_duration

if TYPE_CHECKING:
    from tltool.evaluation.metrics.paired_tests import PairedComparison
    from tltool.workflows.compare_backbones import Leaderboard
    from tltool.workflows.comparison.comparison import Comparison
    from tltool.workflows.dataset.backbone_probes import LeaderboardEntry


@guarded
def compare(
    runs_or_data: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...|DATA",
            help="Two or more runs; each is compared with the first. With --backbones: labelled "
            "images, any data source of finetune.",
            autocompletion=complete_run,
        ),
    ],
    backbones: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Compare these backbones on the labelled images."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="For runs: write an HTML report with the images that only one run classifies "
            "correctly.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=16, max=2048, metavar="PIXELS", help="With --backbones: input size in pixels."
        ),
    ] = None,
    weights: Annotated[
        Literal["imagenet", "random"],
        typer.Option(metavar="imagenet|random", help="With --backbones: pretrained weights."),
    ] = "imagenet",
    workers: training.Workers = None,
    cluster: training.Cluster = None,
    ood_images: shared_options.OodImages = None,
    pixels: shared_options.Pixels = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Compare runs on the same images with paired tests, or backbones by a linear probe.

    The options --image-size, --weights, --workers, --cluster, --ood-images and --pixels need
    --backbones.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.run import check_backbones
    from tltool.workflows.workers import checked_workers

    if backbones is None:
        others = (image_size, pixels, ood_images, workers, cluster)
        if any(one is not None for one in others) or weights != "imagenet":
            raise UsageError(
                "--image-size, --weights, --ood-images, --pixels, --workers and --cluster need "
                "--backbones",
                hint="add --backbones NAME,NAME",
            )
        comparison = _compare_runs(runs_or_data, report, quiet=quiet, debug=debug)
        print_json(comparison.to_json()) if json else _show_comparison(comparison)
        return
    if len(runs_or_data) != 1 or report is not None:
        raise UsageError(
            "--backbones takes one source of images, and no --report",
            hint="tltool compare DATA --backbones vgg16,resnet50",
        )
    checked_workers(workers, cluster)
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    check_backbones(names, runs_or_data[0], side=image_size, ood_images=ood_images)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.compare_backbones import compare_backbones

        leaderboard = compare_backbones(
            runs_or_data[0],
            names,
            image_size=image_size,
            weights=weights,
            ood_images=ood_images,
            pixels=pixels,
            offline=offline,
            workers=workers,
            cluster=cluster,
            observer=display,
        )
    print_json(leaderboard.to_json()) if json else _show_leaderboard(leaderboard)


def _compare_runs(
    runs: list[str], report: Path | None, *, quiet: bool, debug: bool
) -> "Comparison":
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.comparison.compared_runs import common_keys, open_compared_runs
    from tltool.workflows.preflight.arguments import check_page, check_runs

    check_runs(runs)
    if report is not None:
        check_page(report)
    common_keys(open_compared_runs([Path(run) for run in runs]))
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.compare import compare as workflow
        from tltool.workflows.comparison.comparison_report import write_comparison_report

        comparison = workflow(runs, observer=display)
        if report is not None:
            display.on_phase("report", str(report))
            write_comparison_report(report, comparison)
    return comparison


def _show_comparison(comparison: "Comparison") -> None:
    console = out()
    line(console)
    for sentence in comparison.verdicts:
        line(console, (printable(sentence), "bold"))
    for test_set in comparison.test_sets:
        line(console, (test_set.summary, "yellow"))
    line(console)
    numbers = range(len(comparison.runs))
    p_value = _p_value_heading(len(comparison.paired))
    columns = ["run", "accuracy", "95 % CI", "difference", "95 % CI", p_value]
    print_table(console, columns, [_accuracy_cells(comparison, number) for number in numbers])
    line(console)
    columns = [
        "run",
        "parameters",
        "MB",
        "ms/image",
        "training",
        "only it correct",
        "only first correct",
    ]
    print_table(console, columns, [_cost_cells(comparison, number) for number in numbers])


def _p_value_heading(comparisons: int) -> str:
    return "McNemar p" if comparisons == 1 else "p (Holm)"


def _accuracy_cells(comparison: "Comparison", number: int) -> list[str]:
    value, low, high = comparison.accuracy(number)
    paired = comparison.paired[number - 1] if number else None
    return [
        comparison.runs[number].name,
        f"{value:.3f}",
        f"{low:.3f} … {high:.3f}",
        *_paired_cells(paired),
    ]


def _paired_cells(paired: "PairedComparison | None") -> list[str]:
    """Return difference and interval in percentage points of accuracy, and the p-value."""
    if paired is None:
        return ["", "", ""]
    low, high = 100 * paired.low, 100 * paired.high
    return [
        f"{100 * paired.difference:+.1f}",
        f"{low:+.1f} … {high:+.1f}",
        f"{paired.adjusted:.3g}",
    ]


def _cost_cells(comparison: "Comparison", number: int) -> list[str]:
    cost = comparison.costs[number]
    cells = ["–", "–", "–", "–"]
    if cost is not None:
        trained = "–" if cost.train_seconds is None else readable_duration(cost.train_seconds)
        cells = [
            f"{cost.parameters:,}",
            f"{cost.megabytes:.0f}",
            f"{cost.milliseconds:.0f}",
            trained,
        ]
    only = ["", ""]
    if number:
        paired = comparison.paired[number - 1]
        only = [str(paired.only_second), str(paired.only_first)]
    return [comparison.runs[number].name, *cells, *only]


def _show_leaderboard(leaderboard: "Leaderboard") -> None:
    console = out()
    line(console)
    columns = [
        "backbone",
        "accuracy",
        "95 % CI",
        "to the best",
        "95 % CI",
        "features",
        "parameters",
        "ms/image",
    ]
    print_table(console, columns, [_leaderboard_cells(entry) for entry in leaderboard.entries])
    for name, reason in leaderboard.skipped.items():
        line(console, f"skipped: {name}: {printable(reason)}")
    line(console)
    line(console, (_leaderboard_verdict(leaderboard), "bold"))
    if leaderboard.saving:
        line(console, leaderboard.saving)
    line(
        console,
        (
            f"Accuracy of a linear probe on frozen features, cross-validated on {leaderboard.n:,} "
            f"images of {leaderboard.classes} classes; fine-tuning can change the order.",
            "dim",
        ),
    )


def _leaderboard_cells(entry: "LeaderboardEntry") -> list[str]:
    value, low, high = entry.accuracy
    return [
        entry.backbone.name,
        f"{value:.3f}",
        f"{low:.3f} … {high:.3f}",
        *_paired_cells(entry.against_best)[:2],
        f"{entry.features:,}",
        f"{entry.backbone.parameters / 1e6:.1f} M",
        f"{1000 * entry.seconds_per_image:.1f}",
    ]


def _leaderboard_verdict(leaderboard: "Leaderboard") -> str:
    best, *others = leaderboard.entries
    similar = [
        one.backbone.name
        for one in others
        if one.against_best and not one.against_best.distinguishable
    ]
    name = best.backbone.name
    if not others:
        return f"{name} is the only backbone that was evaluated"
    if not similar:
        return f"{name} is significantly better than the others"
    return f"{name} is the best; not significantly worse: {', '.join(similar)}"
