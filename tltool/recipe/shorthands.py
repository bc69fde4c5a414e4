"""Options that set well-known keys of a recipe: epochs, learning rate, batch size, image size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tltool.errors import UsageError
from tltool.recipe.load import RecipeFile
from tltool.recipe.overrides import Override

PHASES = ("head", "finetune")


@dataclass(frozen=True)
class Shorthands:
    """Values of the options; None where an option is not given.

    Attributes:
        epochs: maximum number of epochs of each phase that the recipe has.
        learning_rate: of the last phase that the recipe has.
        batch_size: images per training step.
        image_size: side of the network's input in pixels.
    """

    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    image_size: int | None = None


def shorthand_overrides(
    file: RecipeFile, settings: Sequence[Override], given: Shorthands
) -> list[Override]:
    """Return the settings of a recipe, followed by those that the shorthands stand for.

    A phase with 0 epochs is left out of the recipe, and stays out: the recipe ``quick`` has no
    phase that is trained in epochs.

    Args:
        file: the recipe.
        settings: what else is set of it.
        given: values of the shorthands.

    Raises:
        UsageError: the recipe has no phase to which a shorthand could apply, or is not valid.

    Examples:
        >>> file = read_recipe("vgg16")
        >>> [one.key for one in shorthand_overrides(file, [], Shorthands(epochs=3))]
        ['train.head.epochs', 'train.finetune.epochs']
    """
    return [*settings, *_by_phase(file, settings, given), *_plain(given)]


def _plain(given: Shorthands) -> Iterator[Override]:
    if given.batch_size is not None:
        yield Override("train.batch_size", given.batch_size, f"--batch-size {given.batch_size}")
    if given.image_size is not None:
        yield Override("data.image_size", given.image_size, f"--image-size {given.image_size}")


def _by_phase(
    file: RecipeFile, settings: Sequence[Override], given: Shorthands
) -> Iterator[Override]:
    if given.epochs is None and given.learning_rate is None:
        return
    train = file.recipe(settings).train
    phases = [name for name in PHASES if getattr(train, name).epochs]
    if not phases:
        option = "--epochs" if given.epochs is not None else "--learning-rate"
        raise UsageError(
            f"{option} has no effect: recipe '{file.reference}' fits only the linear probe, which "
            "has no epochs and no learning rate",
            hint="choose another recipe, such as --recipe vgg16, or --set train.head.epochs=20",
        )
    if given.epochs is not None:
        for name in phases:
            yield Override(f"train.{name}.epochs", given.epochs, f"--epochs {given.epochs}")
    if given.learning_rate is not None:
        rate = given.learning_rate
        yield Override(f"train.{phases[-1]}.learning_rate", rate, f"--learning-rate {rate:g}")
