"""tltool finetune --kfold."""

import datetime
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.results import show_fields, show_next
from tltool.errors import UsageError
from tltool.runs.run_options import RunOptions

if TYPE_CHECKING:
    from tltool.recipe.load import RecipeFile
    from tltool.recipe.overrides import Override
    from tltool.workflows.cross_validate import CrossValidation, Mean, PooledAccuracy


@dataclass(frozen=True)
class Folds:
    """The options of a cross-validation: a recipe with settings, and the number of folds."""

    recipe: "RecipeFile"
    count: int
    settings: list["Override"]


def cross_validate(
    folds: Folds, options: RunOptions, rerun: list[str], *, json: bool, quiet: bool, debug: bool
) -> None:
    """Run the quick checks, train all folds, and print the result.

    ``rerun`` are the options of a run on all images that is like these.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.workflows.preflight.run import check_training
    from tltool.workflows.resolve.run_spec import resolve
    from tltool.workflows.training_run.run_group import group_folder

    if any(one.key == "data.fold" for one in folds.settings):
        raise UsageError("--kfold trains all folds and --fold one", hint="give one of them")
    spec = resolve(folds.recipe.recipe(folds.settings))
    now = datetime.datetime.now(datetime.UTC)
    out_folder, options = options.out, replace(options, out=None)
    check_training(spec, options)
    name = f"kfold-{spec.recipe.name}"
    with (
        group_folder(out_folder, name, now=now) as folder,
        shown(quiet=quiet, debug=debug) as display,
    ):
        from tltool.workflows.cross_validate import cross_validate as workflow

        result = workflow(
            folds.recipe,
            options,
            count=folds.count,
            settings=folds.settings,
            out=folder,
            observer=display,
        )
    if json:
        print_json(result.to_json())
    else:
        _show(result, options.data, rerun)


def _show(result: "CrossValidation", data: str, rerun: list[str]) -> None:
    console = out()
    columns = ["fold", "accuracy", "log-loss"]
    rows = [[one.fold, f"{one.accuracy:.4f}", f"{one.log_loss:.4f}"] for one in result.folds]
    means: list[Mean] = [result.accuracy, result.log_loss]
    if result.test_accuracy.mean is not None:
        columns.append("test accuracy")
        means.append(result.test_accuracy)
        rows = [
            [*row, f"{one.test_accuracy:.4f}"] for row, one in zip(rows, result.folds, strict=True)
        ]
    rows.append(["mean", *(_number(one.mean) for one in means)])
    rows.append(["± s.e.", *(_number(one.standard_error) for one in means)])
    line(console)
    print_table(console, columns, rows, title="Each fold, by the model trained on the others")
    line(console)
    if result.pooled_accuracy:
        line(console, (_pooled(result.pooled_accuracy), "bold"))
    line(
        console,
        "A fold also chose its model's best epoch, so its figures are a little optimistic. Folds "
        "share training images: the standard error understates how far new images may differ.",
    )
    show_fields({"runs": result.folder})
    show_next(["tltool", "finetune", data, *rerun])


def _pooled(pooled: "PooledAccuracy") -> str:
    groups = f" in {pooled.groups:,} groups" if pooled.groups else ""
    return (
        f"accuracy over all folds {pooled.value:.3f} (95 % interval {pooled.low:.3f} to "
        f"{pooled.high:.3f}, n = {pooled.n:,}{groups}, each image out of fold)"
    )


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"
