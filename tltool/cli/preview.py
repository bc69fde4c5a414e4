"""tltool preview."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli.terminal import options, training
from tltool.cli.terminal.console import line, out, print_json, print_table, printable
from tltool.cli.terminal.errors import guarded
from tltool.errors import UsageError

if TYPE_CHECKING:
    from tltool.recipe.schema import Recipe
    from tltool.workflows.preview import Preview
    from tltool.workflows.rank_augmentations import AugmentationEffect, AugmentationRanking

_ROWS, _PICTURE = 4, Path("preview.png")


@guarded
def preview(
    photos: Annotated[
        str,
        typer.Argument(metavar="PHOTOS", help="A folder, or any source that finetune takes."),
    ],
    recipe: options.RecipeName = "vgg16",
    overrides: options.Set = None,
    rows: Annotated[
        int, typer.Option(min=2, max=32, metavar="NUMBER", help="Images to show.")
    ] = _ROWS,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also show changes that the recipe does not make."),
    ] = False,
    output: Annotated[
        Path, typer.Option(metavar="FILE.png", help="The picture; nothing is replaced.")
    ] = _PICTURE,
    fitness: Annotated[
        bool,
        typer.Option(
            "--fitness",
            help="Measure under which changes a probe still knows the images, instead.",
        ),
    ] = False,
    seed: training.Seed = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Draw what augmentation does to images, or measure which changes fit them."""
    from tltool.cli.terminal.progress import shown
    from tltool.recipe.load import load_recipe
    from tltool.workflows.preflight.run import check_preview, check_ranking

    settings = training.settings_of(overrides, seed=seed)
    resolved = load_recipe(recipe, settings)
    if fitness:
        if every or rows != _ROWS or output != _PICTURE:
            raise UsageError(
                "--fitness measures all changes and draws no picture",
                hint="leave out --rows, --all and --output",
            )
        check_ranking(resolved, photos, offline=offline)
        measured = _measure(photos, resolved, offline=offline, quiet=quiet, debug=debug)
        print_json(measured.to_json()) if json else _show_fitness(measured)
        return
    check_preview(resolved, photos, output)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.preview import preview as workflow

        found = workflow(
            photos,
            recipe=resolved,
            rows=rows,
            every=every,
            output=output,
            offline=offline,
            observer=display,
        )
    print_json(found.to_json()) if json else _show(found)


def _measure(
    photos: str, recipe: "Recipe", *, offline: bool, quiet: bool, debug: bool
) -> "AugmentationRanking":
    from tltool.cli.terminal.progress import shown

    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.rank_augmentations import fitness

        return fitness(photos, recipe=recipe, offline=offline, observer=display)


def _show(found: "Preview") -> None:
    console = out()
    line(console, f"policy {found.policy} ({found.why})")
    for remark in found.remarks:
        line(console, (remark, "dim"))
    line(console, (printable(str(found.picture)), "bold"))


def _show_fitness(found: "AugmentationRanking") -> None:
    console = out()
    value, low, high = found.accuracy
    line(console)
    columns = ["change", "in the recipe", "accuracy", "95 %", "difference", "95 %", "advice"]
    plain = ["none", "", f"{value:.3f}", f"{low:.3f} … {high:.3f}", "", "", ""]
    print_table(console, columns, [plain, *(_cells(fit) for fit in found.fits)])
    line(console)
    for fit in found.fits:
        if fit.advice not in {"fits", "unsure"}:
            line(console, (_sentence(fit, value), "bold" if fit.used else ""))
    if found.few:
        line(console, (found.few, "yellow"))
    line(
        console,
        (
            f"A probe on {found.backbone} that learned from {found.trained_on:,} images as they "
            f"are, tried on {len(found.plain):,} validation images under each change alone. A "
            "change that fits may help; only training tells whether it does. Blends of images "
            "(mixup, cutmix) and changes of cached features are not tried.",
            "dim",
        ),
    )


def _cells(fit: "AugmentationEffect") -> list[str]:
    value, low, high = fit.accuracy
    paired = fit.against_plain
    return [
        fit.change,
        "yes" if fit.used else "",
        f"{value:.3f}",
        f"{low:.3f} … {high:.3f}",
        f"{100 * paired.difference:+.1f}",
        f"{100 * paired.low:+.1f} … {100 * paired.high:+.1f}",
        fit.advice,
    ]


def _sentence(fit: "AugmentationEffect", plain: float) -> str:
    told = f"{fit.change}: {plain:.2f} → {fit.accuracy[0]:.2f}: {fit.advice}"
    key = fit.change.split()[0]
    return f"{told} (augment.{key})" if fit.used else told
