"""Options for the keys of a recipe that are changed most often."""

from typing import Annotated

import typer

from tltool.cli.terminal.shared_options import RECIPE

Epochs = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=1,
        help="Maximum number of epochs of each phase that the recipe has, the head's and "
        "fine-tuning: train.head.epochs and train.finetune.epochs. Early stopping may end a phase "
        "sooner.",
        rich_help_panel=RECIPE,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="Learning rate of fine-tuning, train.finetune.learning_rate; in a recipe without "
        "fine-tuning that of the head, train.head.learning_rate.",
        rich_help_panel=RECIPE,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER", help="Images per training step, train.batch_size.", rich_help_panel=RECIPE
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Height and width of the images for the network, data.image_size.",
        rich_help_panel=RECIPE,
    ),
]
