"""tltool compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import line, out, print_json, print_table, printable
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.results import duration
from tltool.errors import UsageError

if TYPE_CHECKING:
    from tltool.evaluation.metrics.paired_tests import Paired
    from tltool.workflows.compare_backbones import Leaderboard, Place
    from tltool.workflows.comparison.result import Comparison


@guarded
def compare(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|PHOTOS",
            help="Two runs or more, the first being the yardstick; with --backbones, images.",
        ),
    ],
    backbones: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Compare these backbones on the images."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Of runs: write a page with images that only one gets right.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=16, max=2048, metavar="PIXELS", help="With --backbones: side of all images."
        ),
    ] = None,
    weights: Annotated[
        Literal["imagenet", "random"],
        typer.Option(metavar="imagenet|random", help="With --backbones: their weights."),
    ] = "imagenet",
    ood_images: options.OodImages = None,
    pixels: options.Pixels = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Say which run is better on the same images, and how sure that is; or which backbone."""
    from tltool.cli.terminal.progress import shown
    from tltool.models.backbone_registry import get_backbone

    if backbones is None:
        if image_size or pixels or ood_images or weights != "imagenet":
            raise UsageError(
                "--image-size, --weights, --ood-images and --pixels are for backbones",
                hint="add --backbones NAME,NAME",
            )
        found = _runs(given, report, quiet=quiet, debug=debug)
        print_json(found.to_json()) if json else _show_runs(found)
        return
    if len(given) != 1 or report is not None:
        raise UsageError(
            "--backbones compares backbones on one source of images, without --report",
            hint="tltool compare PHOTOS --backbones vgg16,resnet50",
        )
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    for name in names:
        get_backbone(name)  # an unknown one is told at once
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.compare_backbones import leaderboard

        board = leaderboard(
            given[0],
            names,
            image_size=image_size,
            weights=weights,
            ood_images=ood_images,
            pixels=pixels,
            offline=offline,
            observer=display,
        )
    print_json(board.to_json()) if json else _show_board(board)


def _runs(given: list[str], report: Path | None, *, quiet: bool, debug: bool) -> "Comparison":
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.arguments import check_page, check_runs

    check_runs(given)
    if report is not None:
        check_page(report)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.compare import compare as workflow
        from tltool.workflows.comparison.report import write_report

        found = workflow(given, observer=display)
        if report is not None:
            display.on_phase("report", str(report))
            write_report(report, found)
    return found


def _show_runs(found: "Comparison") -> None:
    console = out()
    line(console)
    for sentence in found.verdicts:
        line(console, (printable(sentence), "bold"))
    line(console)
    columns = ["run", "accuracy", "95 %", "difference", "95 %", _p_name(len(found.paired))]
    print_table(console, columns, [_accuracy_cells(found, n) for n in range(len(found.contenders))])
    line(console)
    columns = [
        "run",
        "parameters",
        "MB",
        "ms an image",
        "training",
        "only it is right",
        "only the first",
    ]
    print_table(console, columns, [_cost_cells(found, n) for n in range(len(found.contenders))])


def _p_name(comparisons: int) -> str:
    return "McNemar p" if comparisons == 1 else "p (Holm)"


def _accuracy_cells(found: "Comparison", number: int) -> list[str]:
    value, low, high = found.accuracy(number)
    paired = found.paired[number - 1] if number else None
    return [
        found.contenders[number].name,
        f"{value:.3f}",
        f"{low:.3f} … {high:.3f}",
        *_paired_cells(paired),
    ]


def _paired_cells(paired: "Paired | None") -> list[str]:
    """Return difference, interval and p; in points of accuracy."""
    if paired is None:
        return ["", "", ""]
    low, high = 100 * paired.low, 100 * paired.high
    return [
        f"{100 * paired.difference:+.1f}",
        f"{low:+.1f} … {high:+.1f}",
        f"{paired.adjusted:.3g}",
    ]


def _cost_cells(found: "Comparison", number: int) -> list[str]:
    cost = found.costs[number]
    cells = ["–", "–", "–", "–"]
    if cost is not None:
        trained = "–" if cost.train_seconds is None else duration(cost.train_seconds)
        cells = [
            f"{cost.parameters:,}",
            f"{cost.megabytes:.0f}",
            f"{cost.milliseconds:.0f}",
            trained,
        ]
    only = ["", ""]
    if number:
        paired = found.paired[number - 1]
        only = [str(paired.only_second), str(paired.only_first)]
    return [found.contenders[number].name, *cells, *only]


def _show_board(board: "Leaderboard") -> None:
    console = out()
    line(console)
    columns = [
        "backbone",
        "accuracy",
        "95 %",
        "to the best",
        "95 %",
        "features",
        "parameters",
        "ms an image",
    ]
    print_table(console, columns, [_place_cells(place) for place in board.places])
    for name, reason in board.left_out.items():
        line(console, f"left out: {name}: {printable(reason)}")
    line(console)
    line(console, (_board_verdict(board), "bold"))
    line(
        console,
        (
            f"A linear probe on each backbone's features, cross-validated on {board.n:,} images of "
            f"{board.classes} classes; training goes on from there.",
            "dim",
        ),
    )


def _place_cells(place: "Place") -> list[str]:
    value, low, high = place.accuracy
    return [
        place.backbone.name,
        f"{value:.3f}",
        f"{low:.3f} … {high:.3f}",
        *_paired_cells(place.against_best)[:2],
        f"{place.features:,}",
        f"{place.backbone.parameters / 1e6:.1f} M",
        f"{1000 * place.seconds_per_image:.1f}",
    ]


def _board_verdict(board: "Leaderboard") -> str:
    best, *others = board.places
    like = [
        p.backbone.name for p in others if p.against_best and not p.against_best.distinguishable
    ]
    if not others:
        tried = "could be tried" if board.left_out else "was tried"
        return f"{best.backbone.name} is the only one that {tried}"
    if not like:
        return f"{best.backbone.name} is the best"
    return f"{best.backbone.name} is first; it cannot be told apart from {', '.join(like)}"
