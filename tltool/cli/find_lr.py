"""tltool finetune --find-lr."""

from typing import TYPE_CHECKING

from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.rerun_hint import without_settings
from tltool.cli.terminal.results import show_fields, show_next
from tltool.runs.run_options import RunOptions

if TYPE_CHECKING:
    from tltool.recipe.schema import Recipe
    from tltool.workflows.find_lr import LRRangeResult


def suggest_rates(
    recipe: "Recipe",
    options: RunOptions,
    rerun: list[str],
    *,
    json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Run the quick checks, test learning rates, and print the result.

    ``rerun`` are the options of the training run that the rates are for.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.errors import UsageError
    from tltool.workflows.preflight.run import check_training
    from tltool.workflows.resolve.run_spec import resolve

    if not recipe.train.head.epochs and not recipe.train.finetune.epochs:
        raise UsageError(
            "this recipe has neither a head nor a fine-tune phase: it uses no learning rate",
            hint="--set train.head.epochs=20",
        )
    spec = resolve(recipe)
    check_training(spec, options)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.find_lr import find_learning_rates

        result = find_learning_rates(spec, options, observer=display)
    if json:
        print_json(result.to_json())
    else:
        _show(result, options.data, rerun)


def _show(result: "LRRangeResult", data: str, rerun: list[str]) -> None:
    from tltool.workflows.find_lr import PLOT, TABLE

    console = out()
    rows = [
        [name, f"{test.suggestion:g}", f"{result.present[name]:g}", f"{test.lowest:.1e}"]
        for name, test in result.tests.items()
    ]
    line(console)
    columns = ["phase", "suggested rate", "in the recipe", "lowest loss at"]
    print_table(console, columns, rows, title="Learning rates (nothing that was trained is kept)")
    show_fields({"plot": result.folder / PLOT, "table": result.folder / TABLE})
    settings = [
        part
        for name, test in result.tests.items()
        for part in ("--set", f"train.{name}.learning_rate={test.suggestion:g}")
    ]
    rates = {f"train.{name}.learning_rate" for name in result.tests}
    show_next(["tltool", "finetune", data, *without_settings(rerun, rates), *settings])
