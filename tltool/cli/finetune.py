"""tltool finetune."""

from typing import Annotated

import typer

from tltool.cli.cross_validate import Folds, cross_validate
from tltool.cli.find_lr import suggest_rates
from tltool.cli.terminal import options, training
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.rerun_hint import user_options
from tltool.errors import UsageError
from tltool.runs.run_options import RunOptions


@guarded
def finetune(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder with a folder of images per class, or train/val/test; a zip or tar of "
            "such; a CSV, TSV or JSONL file of paths and labels, or of labels and pixels; "
            "tfds:NAME; tfds-folder:DIR.",
        ),
    ],
    recipe: options.RecipeName = "vgg16",
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Backbone; `tltool backbones list` lists them."),
    ] = None,
    overrides: options.Set = None,
    test: training.Test = None,
    out_folder: training.Out = None,
    name: training.Name = None,
    saved_models: training.SavedModels = training.EXPORTS,
    weights: training.Weights = None,
    device: training.Device = "auto",
    seed: training.Seed = None,
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="I|I/K",
            help="Validate on fold I of the table's column, or of K drawn ones, from 0.",
        ),
    ] = None,
    kfold: Annotated[
        int | None,
        typer.Option(min=2, max=99, metavar="K", help="Train K folds in turn; exports nothing."),
    ] = None,
    find_lr: Annotated[
        bool,
        typer.Option("--find-lr", help="Only try learning rates (range test), and suggest some."),
    ] = False,
    asserts: training.Asserts = None,
    strict: training.Strict = False,
    tensorboard: training.TensorBoard = True,
    track: training.Track = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a classifier on images and export it as a SavedModel."""
    from tltool.recipe.load import read_recipe

    settings = training.settings_of(
        overrides,
        data=data,
        backbone=backbone,
        name=name,
        seed=seed,
        fold=fold,
        asserts=asserts,
        strict=strict,
    )
    run = RunOptions(
        data,
        test=test,
        out=out_folder,
        saved_models=saved_models,
        weights=weights,
        offline=offline,
        device=device,
        tensorboard=tensorboard,
        track=tuple(track or ()),
    )
    file = read_recipe(recipe)
    rerun = ["--recipe", recipe, *user_options(context, without=("find_lr", "kfold", "recipe"))]
    if find_lr:
        if kfold is not None or test is not None or saved_models != training.EXPORTS:
            raise UsageError(
                "--find-lr keeps nothing that it trains",
                hint="leave out --kfold, --test and --export-to",
            )
        suggest_rates(file.recipe(settings), run, rerun, json=json, quiet=quiet, debug=debug)
    elif kfold is not None:
        if saved_models != training.EXPORTS:
            raise UsageError("--kfold exports nothing", hint="leave out --export-to")
        folds = Folds(file, kfold, settings)
        cross_validate(folds, run, rerun, json=json, quiet=quiet, debug=debug)
    else:
        training.train(file.recipe(settings), run, json=json, quiet=quiet, debug=debug)
