"""tltool finetune --kfold."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tltool.cli.terminal import training
from tltool.cli.terminal.console import line, out, print_json, print_table
from tltool.cli.terminal.results import show_fields, show_next
from tltool.errors import UsageError

if TYPE_CHECKING:
    from tltool.recipe.overrides import Override
    from tltool.workflows.cross_validate import CrossValidation, Mean


def cross_validate(
    recipe: str,
    photos: str,
    count: int,
    *,
    settings: list["Override"],
    again: list[str],
    test: str | None,
    out_folder: Path | None,
    weights: Path | None,
    device: training.DeviceName,
    tensorboard: bool,
    track: list[str] | None,
    offline: bool,
    json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Check what can be checked at once, train all folds, and print the result.

    ``again`` are the options of a run on all images that is like these.
    """
    from tltool.cli.terminal.progress import shown
    from tltool.recipe.load import load_recipe
    from tltool.workflows.preflight.run import check_first
    from tltool.workflows.training_run.run_group import check_folder

    if any(one.key == "data.fold" for one in settings):
        raise UsageError("--kfold trains all folds and --fold one", hint="give one of them")
    first = load_recipe(recipe, settings)
    check_first(
        first, photos, test=test, out=None, weights=weights, track=track or (), offline=offline
    )
    now = datetime.datetime.now(datetime.UTC)
    folder = out_folder or Path("runs") / f"kfold-{first.name}-{now:%Y%m%d-%H%M%S}"
    check_folder(folder)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.cross_validate import cross_validate as workflow

        found = workflow(
            photos,
            recipe=recipe,
            count=count,
            settings=settings,
            test=test,
            out=folder,
            weights=weights,
            tensorboard=tensorboard,
            track=track or (),
            offline=offline,
            device=device,
            observer=display,
        )
    if json:
        print_json(found.to_json())
    else:
        _show(found, photos, again)


def _show(found: "CrossValidation", photos: str, again: list[str]) -> None:
    console = out()
    columns = ["fold", "accuracy", "log-loss"]
    rows = [[one.fold, f"{one.accuracy:.4f}", f"{one.log_loss:.4f}"] for one in found.folds]
    means: list[Mean] = [found.accuracy, found.log_loss]
    if found.test_accuracy.mean is not None:
        columns.append("test accuracy")
        means.append(found.test_accuracy)
        rows = [
            [*row, f"{one.test_accuracy:.4f}"] for row, one in zip(rows, found.folds, strict=True)
        ]
    rows.append(["mean", *(_number(one.mean) for one in means)])
    rows.append(["± s.e.", *(_number(one.standard_error) for one in means)])
    line(console)
    print_table(console, columns, rows, title="Each fold, by the model trained on the others")
    line(console)
    line(
        console,
        "A fold also chose its model's best epoch, so its figures are a little optimistic. Folds "
        "share training images: the standard error understates how far new images may differ.",
    )
    show_fields({"runs": found.folder})
    show_next(["tltool", "finetune", photos, *again])


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"
