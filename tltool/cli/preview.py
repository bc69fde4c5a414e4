"""tltool preview."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal import shared_options, training
from tltool.cli.terminal.completion import complete_backbone
from tltool.cli.terminal.console import line, out, print_json, print_table, printable
from tltool.cli.terminal.error_output import guarded
from tltool.errors import UsageError

if TYPE_CHECKING:
    from tltool.recipe.schema import Recipe
    from tltool.workflows.preview import Preview
    from tltool.workflows.rank_augmentations import AugmentationEffect, AugmentationRanking

_ROWS, _PICTURE = 4, Path("preview.png")


@guarded
def preview(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Any data source of finetune, such as a folder."),
    ],
    recipe: shared_options.RecipeName = "vgg16",
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Backbone, as of finetune.", autocompletion=complete_backbone
        ),
    ] = None,
    overrides: shared_options.Set = None,
    rows: Annotated[
        int, typer.Option(min=2, max=32, metavar="NUMBER", help="Number of images.")
    ] = _ROWS,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also show transforms that the recipe does not use."),
    ] = False,
    output: Annotated[
        Path, typer.Option(metavar="FILE.png", help="File for the picture; it must not exist.")
    ] = _PICTURE,
    rank: Annotated[
        bool,
        typer.Option(
            "--rank",
            help="Instead of a picture, rank augmentations by the accuracy of a linear probe.",
        ),
    ] = False,
    seed: training.Seed = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Draw augmented images, or rank augmentations by their effect on accuracy."""
    from tltool.cli.terminal.progress import shown
    from tltool.recipe.load import load_recipe
    from tltool.workflows.preflight.run import check_preview, check_ranking

    settings = training.settings_of(overrides, backbone=backbone, seed=seed)
    resolved = load_recipe(recipe, settings)
    if rank:
        if every or rows != _ROWS or output != _PICTURE:
            raise UsageError(
                "--rank tests all augmentations and draws no picture",
                hint="leave out --rows, --all and --output",
            )
        check_ranking(resolved, data, offline=offline)
        ranking = _rank(data, resolved, offline=offline, quiet=quiet, debug=debug)
        print_json(ranking.to_json()) if json else _show_ranking(ranking)
        return
    check_preview(resolved, data, output)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.preview import preview as workflow

        result = workflow(
            data,
            recipe=resolved,
            rows=rows,
            every=every,
            output=output,
            offline=offline,
            observer=display,
        )
    print_json(result.to_json()) if json else _show(result)


def _rank(
    data: str, recipe: "Recipe", *, offline: bool, quiet: bool, debug: bool
) -> "AugmentationRanking":
    from tltool.cli.terminal.progress import shown

    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.rank_augmentations import rank_augmentations

        return rank_augmentations(data, recipe=recipe, offline=offline, observer=display)


def _show(result: "Preview") -> None:
    console = out()
    line(console, f"policy {result.policy} ({result.why})")
    for remark in result.remarks:
        line(console, (remark, "dim"))
    line(console, (printable(str(result.picture)), "bold"))


def _show_ranking(ranking: "AugmentationRanking") -> None:
    console = out()
    value, low, high = ranking.accuracy
    line(console)
    columns = ["augmentation", "in the recipe", "accuracy", "95 %", "difference", "95 %", "advice"]
    original = ["none", "", f"{value:.3f}", f"{low:.3f} … {high:.3f}", "", "", ""]
    print_table(console, columns, [original, *(_cells(effect) for effect in ranking.effects)])
    line(console)
    for effect in ranking.effects:
        if effect.advice not in {"safe", "unsure"}:
            line(console, (_sentence(effect, value), "bold" if effect.used else ""))
    if ranking.warning:
        line(console, (ranking.warning, "yellow"))
    line(console, (_explanation(ranking), "dim"))


def _explanation(ranking: "AugmentationRanking") -> str:
    return (
        f"A linear probe on {ranking.backbone} features of {ranking.train_images:,} original "
        f"training images, tested on {len(ranking.original):,} validation images under each "
        "augmentation alone. A safe augmentation preserves the class; only training shows whether "
        "it helps. Blends of images (mixup, cutmix) and augmentation of cached features are not "
        "tested."
    )


def _cells(effect: "AugmentationEffect") -> list[str]:
    value, low, high = effect.accuracy
    paired = effect.against_original
    return [
        effect.name,
        "yes" if effect.used else "",
        f"{value:.3f}",
        f"{low:.3f} … {high:.3f}",
        f"{100 * paired.difference:+.1f}",
        f"{100 * paired.low:+.1f} … {100 * paired.high:+.1f}",
        effect.advice,
    ]


def _sentence(effect: "AugmentationEffect", original: float) -> str:
    text = f"{effect.name}: {original:.2f} → {effect.accuracy[0]:.2f}: {effect.advice}"
    key = effect.name.split()[0]
    return f"{text} (augment.{key})" if effect.used else text
