"""tltool finetune --find-lr."""

from pathlib import Path
from typing import TYPE_CHECKING

from tltool.cli.terminal import training
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.rerun_hint import without_settings
from tltool.cli.terminal.results import show_fields, show_next

if TYPE_CHECKING:
    from tltool.recipe.schema import Recipe
    from tltool.workflows.find_lr import LRRangeResult


def find_lr(
    recipe: "Recipe",
    photos: str,
    *,
    again: list[str],
    out_folder: Path | None,
    weights: Path | None,
    device: training.DeviceName,
    offline: bool,
    json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Check what can be checked at once, try learning rates, and print what they did.

    ``again`` are the options of the training run that it is for.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.errors import UsageError
    from tltool.workflows.preflight.run import check_first

    if not recipe.train.head.epochs and not recipe.train.finetune.epochs:
        raise UsageError(
            "this recipe has neither a head nor a fine-tune phase: it uses no learning rate",
            hint="--set train.head.epochs=20",
        )
    check_first(
        recipe, photos, test=None, out=out_folder, weights=weights, track=(), offline=offline
    )
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.find_lr import find_rates

        found = find_rates(
            photos,
            recipe=recipe,
            out=out_folder,
            weights=weights,
            offline=offline,
            device=device,
            observer=display,
        )
    if json:
        print_json(found.to_json())
    else:
        _show(found, photos, again)


def _show(found: "LRRangeResult", photos: str, again: list[str]) -> None:
    from tltool.workflows.find_lr import PLOT, TABLE

    console = out()
    rows = [
        [name, f"{test.suggestion:g}", f"{found.present[name]:g}", f"{test.lowest:.1e}"]
        for name, test in found.tests.items()
    ]
    line(console)
    columns = ["phase", "suggested rate", "in the recipe", "lowest loss at"]
    print_table(console, columns, rows, title="Learning rates (nothing was trained for good)")
    show_fields({"plot": found.folder / PLOT, "table": found.folder / TABLE})
    settings = [
        part
        for name, test in found.tests.items()
        for part in ("--set", f"train.{name}.learning_rate={test.suggestion:g}")
    ]
    rates = {f"train.{name}.learning_rate" for name in found.tests}
    show_next(["tltool", "finetune", photos, *without_settings(again, rates), *settings])
