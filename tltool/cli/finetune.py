"""tltool finetune."""

from typing import Annotated

import typer

from tltool.cli.cross_validate import cross_validate
from tltool.cli.find_lr import find_lr as try_rates
from tltool.cli.terminal import options, training
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.rerun_hint import user_options
from tltool.errors import UsageError


@guarded
def finetune(
    context: typer.Context,
    photos: Annotated[
        str,
        typer.Argument(
            metavar="PHOTOS",
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
    from tltool.recipe.load import load_recipe

    settings = training.settings_of(
        overrides,
        photos=photos,
        backbone=backbone,
        name=name,
        seed=seed,
        fold=fold,
        asserts=asserts,
        strict=strict,
    )
    if find_lr:
        if kfold is not None or test is not None or saved_models != training.EXPORTS:
            raise UsageError(
                "--find-lr trains nothing for good",
                hint="leave out --kfold, --test and --export-to",
            )
        try_rates(
            load_recipe(recipe, settings),
            photos,
            again=["--recipe", recipe, *user_options(context, without=("find_lr", "recipe"))],
            out_folder=out_folder,
            weights=weights,
            device=device,
            offline=offline,
            json=json,
            quiet=quiet,
            debug=debug,
        )
        return
    if kfold is not None:
        if saved_models != training.EXPORTS:
            raise UsageError("--kfold exports nothing", hint="leave out --export-to")
        cross_validate(
            recipe,
            photos,
            kfold,
            settings=settings,
            again=["--recipe", recipe, *user_options(context, without=("kfold", "recipe"))],
            test=test,
            out_folder=out_folder,
            weights=weights,
            device=device,
            tensorboard=tensorboard,
            track=track,
            offline=offline,
            json=json,
            quiet=quiet,
            debug=debug,
        )
        return
    training.train(
        load_recipe(recipe, settings),
        photos,
        test=test,
        out=out_folder,
        saved_models=saved_models,
        weights=weights,
        device=device,
        tensorboard=tensorboard,
        track=track,
        offline=offline,
        json=json,
        quiet=quiet,
        debug=debug,
    )
