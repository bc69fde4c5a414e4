"""tltool finetune."""

from typing import Annotated

import typer

from tltool.cli.cross_validate import Folds, cross_validate
from tltool.cli.find_lr import suggest_rates
from tltool.cli.terminal import recipe_shorthands, shared_options, training
from tltool.cli.terminal.completion import complete_backbone
from tltool.cli.terminal.error_output import guarded
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
            help="Data source: a folder with one folder of images per class, or with "
            "train/val/test; a zip or tar archive of such a folder; a CSV, TSV or JSONL file of "
            "paths and labels, or a CSV of labels and pixels; parquet:PATH; wds:PATH; tfds:NAME; "
            "tfds-folder:DIR. Folders and files may be in an object store: s3://, gs://, az://.",
        ),
    ],
    recipe: shared_options.RecipeName = "vgg16",
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|auto",
            help="Backbone; `tltool backbones list` lists them. Or the file of a Keras model of "
            "your own without its head: backbone.keras. auto: chosen by measurement on the "
            "training images.",
            rich_help_panel=shared_options.RECIPE,
            autocompletion=complete_backbone,
        ),
    ] = None,
    epochs: recipe_shorthands.Epochs = None,
    learning_rate: recipe_shorthands.LearningRate = None,
    batch_size: recipe_shorthands.BatchSize = None,
    image_size: recipe_shorthands.ImageSize = None,
    budget: training.Budget = None,
    overrides: shared_options.Set = None,
    test: training.Test = None,
    out_folder: training.Out = None,
    name: training.Name = None,
    saved_models: training.SavedModels = training.EXPORTS,
    weights: training.Weights = None,
    device: training.Device = "auto",
    workers: training.Workers = None,
    cluster: training.Cluster = None,
    seed: training.Seed = None,
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="I|I/K",
            help="Validate on fold I (from 0) of the table's column fold, or of K random folds.",
            rich_help_panel=shared_options.DATA,
        ),
    ] = None,
    kfold: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=99,
            metavar="K",
            help="K-fold cross-validation; exports no model.",
            rich_help_panel=shared_options.DATA,
        ),
    ] = None,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Run only a learning rate range test, and suggest learning rates.",
            rich_help_panel=shared_options.RECIPE,
        ),
    ] = False,
    corrections: training.Corrections = None,
    corrections_by: training.CorrectionsBy = None,
    time_limit: training.TimeLimit = None,
    asserts: training.Asserts = None,
    strict: training.Strict = False,
    tensorboard: training.TensorBoard = True,
    track: training.Track = None,
    register: training.Register = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Train a classifier on images and export it as a SavedModel."""
    from tltool.recipe.load import read_recipe
    from tltool.recipe.shorthands import Shorthands, shorthand_overrides

    user_settings = training.settings_of(
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
        register=register,
        time_limit=training.seconds_of(time_limit),
        corrections=corrections,
        corrections_by=corrections_by,
        workers=workers,
        cluster=cluster,
    )
    limit = training.seconds_of(budget, "--budget")
    file = read_recipe(recipe)
    shorthands = Shorthands(epochs, learning_rate, batch_size, image_size)
    settings = shorthand_overrides(file, user_settings, shorthands)
    other = ("find_lr", "kfold", "recipe", *(["learning_rate"] if find_lr else []))
    rerun = ["--recipe", recipe, *user_options(context, without=other)]
    if find_lr:
        _check_find_lr(run, kfold, limit)
        suggest_rates(file.recipe(settings), run, rerun, json=json, quiet=quiet, debug=debug)
    elif kfold is not None:
        _check_kfold(run, limit)
        folds = Folds(file, kfold, settings)
        cross_validate(folds, run, rerun, json=json, quiet=quiet, debug=debug)
    else:
        training.train(
            file.recipe(settings), run, budget=limit, json=json, quiet=quiet, debug=debug
        )


def _check_find_lr(run: RunOptions, kfold: int | None, budget: float | None) -> None:
    _check_no_choice(budget)
    others = (kfold, run.test, run.register, run.time_limit)
    if any(one is not None for one in others) or run.saved_models != training.EXPORTS:
        raise UsageError(
            "--find-lr keeps nothing that it trains",
            hint="leave out --kfold, --test, --export-to, --register and --time-limit",
        )


def _check_kfold(run: RunOptions, budget: float | None) -> None:
    _check_no_choice(budget)
    if run.saved_models != training.EXPORTS or run.register is not None:
        raise UsageError("--kfold exports nothing", hint="leave out --export-to and --register")
    if run.time_limit is not None:
        raise UsageError(
            "--time-limit ends one training, and --kfold compares several that must be alike",
            hint="leave out one of them; --set train.finetune.epochs=5 limits each fold alike",
        )


def _check_no_choice(budget: float | None) -> None:
    if budget is not None:
        raise UsageError(
            "--budget limits the choice of the backbone, which --find-lr and --kfold do not make",
            hint="leave out --budget, and name the backbone",
        )
