"""What can be known of a recipe without opening an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tltool.errors import UsageError
from tltool.evaluation.metrics.asserts import check_asserts
from tltool.recipe.load import load_recipe
from tltool.recipe.model_section import AUTO
from tltool.recipe.schema import Recipe
from tltool.weights.published import PUBLISHED
from tltool.workflows.preflight.augmentation_checks import augmentation_problems
from tltool.workflows.preflight.network import network_problems, weights_problems
from tltool.workflows.preflight.unused_settings import unreached_stages, unused_settings
from tltool.workflows.resolve.run_spec import RunSpec, resolve, with_backbone


class CheckedRecipe(NamedTuple):
    """A recipe's name or file, its problem or None, and notes on its unused settings."""

    recipe: str
    problem: str | None
    notes: list[str]


def check_recipes(references: Sequence[str]) -> list[CheckedRecipe]:
    """Check each name or file."""
    return [_checked(reference) for reference in references]


def check_recipe(spec: RunSpec) -> None:
    """Check all that a recipe can get wrong, its pretrained weights aside.

    Raises:
        UsageError: an unknown stage or metric, changes that no phase makes, a cache of nothing, or
            what the network cannot do; names all problems at once.
    """
    raise_together(recipe_problems(spec))


def check_spec(spec: RunSpec, weights: Path | None = None) -> None:
    """Check all that a recipe can get wrong, and its pretrained weights.

    Args:
        spec: the run.
        weights: a file of pretrained weights that replaces the recipe's.

    Raises:
        UsageError: see ``check_recipe``; or weights that do not exist or do not fit.
    """
    raise_together([*recipe_problems(spec), *weights_problems(spec, weights)])


def recipe_problems(spec: RunSpec) -> Iterator[UsageError]:
    """Yield everything that is wrong with a recipe, its pretrained weights aside."""
    yield from spec.problems
    yield from _fold_problems(spec.recipe)
    evaluate, train = spec.recipe.evaluate, spec.recipe.train
    if evaluate.strict and not evaluate.asserts:
        yield UsageError(
            "evaluate.strict is set without a condition in evaluate.asserts",
            hint="add one, such as --assert 'accuracy>=0.9', or leave out --strict",
        )
    if train.cache.mode == "on" and spec.trains_whole_backbone:
        yield UsageError(
            "train.cache is on, but train.finetune.unfreeze leaves no frozen part to cache",
            hint="--set train.cache=off, or unfreeze a later stage",
        )
    if train.accumulate > train.batch_size:
        yield UsageError(
            f"train.accumulate {train.accumulate} is more than the {train.batch_size} images of a "
            "batch (train.batch_size)",
            hint=f"--set train.accumulate={train.batch_size} processes one image at a time",
        )
    if train.jit_compile and train.deterministic:
        yield UsageError(
            "train.jit_compile is true, but XLA cannot train with train.deterministic: it has no "
            "deterministic gradient of max pooling and other operations",
            hint="--set train.deterministic=false, or leave out train.jit_compile",
        )
    yield from augmentation_problems(spec)
    yield from network_problems(spec)
    try:
        check_asserts(evaluate.asserts, strict=evaluate.strict)
    except UsageError as error:
        yield error


def _fold_problems(recipe: Recipe) -> Iterator[UsageError]:
    fold, _, count = (recipe.data.fold or "").partition("/")
    if count and int(fold) >= int(count):
        yield UsageError(
            f"there is no fold {fold} of {count}; the folds are 0 to {int(count) - 1}",
            hint=f"such as --fold 0/{count}",
        )


def raise_together(problems: Iterable[UsageError]) -> None:
    """Raise one error that names all problems; none without any.

    Raises:
        UsageError: there is a problem.
    """
    different = list({problem.message: problem for problem in problems}.values())
    if len(different) == 1:
        raise different[0]
    if different:
        lines = [f"the recipe has {len(different)} problems:"]
        hints = dict.fromkeys(problem.hint for problem in different if problem.hint)
        raise UsageError(
            "\n  ".join([*lines, *(problem.message for problem in different)]),
            hint="; ".join(hints) or None,
        )


def source_of(recipe: Recipe, *, reference: str) -> str:
    """Return the source of images that a recipe names.

    Args:
        recipe: the recipe.
        reference: its name or file, for the error.

    Raises:
        UsageError: it names none.
    """
    if recipe.data.source is None:
        raise UsageError(
            f"the recipe '{reference}' names no images",
            hint=f"tltool recipes run {reference} DATA, or set data.source in the recipe",
        )
    return recipe.data.source


def _checked(reference: str) -> CheckedRecipe:
    try:
        recipe = load_recipe(reference)
        spec = _fitting_spec(recipe) if recipe.model.backbone == AUTO else resolve(recipe)
    except UsageError as error:
        return CheckedRecipe(reference, error.message, [])
    problems = [*recipe_problems(spec), *weights_problems(spec, None)]
    if problems:
        messages = [*dict.fromkeys(problem.message for problem in problems)]
        several = "\n  ".join([f"recipe '{reference}':", *messages])
        return CheckedRecipe(reference, messages[0] if len(messages) == 1 else several, [])
    if recipe.model.backbone == AUTO:
        return CheckedRecipe(reference, None, [])  # what is unused depends on the backbone
    warning = unreached_stages(spec)
    return CheckedRecipe(reference, None, [*unused_settings(spec), *([warning] if warning else [])])


def _fitting_spec(recipe: Recipe) -> RunSpec:
    """Return what a recipe decides with a pretrained backbone that fits it, or with any if none."""
    specs = [resolve(with_backbone(recipe, name)) for name in PUBLISHED]
    return next((spec for spec in specs if not any(recipe_problems(spec))), specs[0])
