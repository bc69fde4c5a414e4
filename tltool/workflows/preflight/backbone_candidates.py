"""The backbones among which `model.backbone: auto` chooses, known without opening an image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tltool.errors import EnvironmentProblem, TltoolError, UsageError
from tltool.models.backbone_registry import listed_backbones
from tltool.recipe.model_section import AUTO
from tltool.recipe.schema import Recipe
from tltool.weights.fetch_weights import check_obtainable
from tltool.weights.published import PUBLISHED
from tltool.workflows.preflight.network import weights_problems
from tltool.workflows.preflight.recipe import raise_together, recipe_problems
from tltool.workflows.resolve.run_spec import RunSpec, resolve, with_backbone


@dataclass(frozen=True)
class Candidates:
    """Backbones that a recipe can be trained with, and why others are left out.

    Attributes:
        specs: what the recipe decides with each backbone; the smallest network first.
        skipped: reason by the name of the backbone.
    """

    specs: tuple[RunSpec, ...]
    skipped: dict[str, str]


def backbone_candidates(
    recipe: Recipe, *, offline: bool, weights: Path | None = None
) -> Candidates:
    """Return the pretrained backbones that ``recipe`` can be trained with.

    Args:
        recipe: with ``model.backbone: auto``.
        offline: leave out backbones whose weights are not stored.
        weights: a file of pretrained weights, which fits one backbone only.

    Raises:
        UsageError: the recipe has weights of its own, or problems with every backbone.
        EnvironmentProblem: no weights are stored, and downloads are disabled.
    """
    if weights is not None or recipe.model.weights != "imagenet":
        source = f"--weights {weights}" if weights else f"model.weights {recipe.model.weights}"
        raise UsageError(
            f"model.backbone {AUTO} compares backbones by their published weights, not {source}",
            hint="name the backbone, or leave the weights out",
        )
    specs, skipped, problems = [], {}, list[TltoolError]()
    for backbone in sorted(listed_backbones(), key=lambda one: one.parameters):
        if backbone.name not in PUBLISHED:
            continue
        spec = resolve(with_backbone(recipe, backbone.name))
        try:
            raise_together(chain(recipe_problems(spec), weights_problems(spec, None)))
            check_obtainable(backbone.name, offline=offline)
            specs.append(spec)
        except (UsageError, EnvironmentProblem) as problem:
            skipped[backbone.name] = problem.message
            problems.append(problem)
    if not specs:
        raise _none_left(problems)
    return Candidates(tuple(specs), skipped)


def _none_left(problems: list[TltoolError]) -> TltoolError:
    """Return the error that explains why no backbone is left: the recipe's own problem first."""
    of_recipe = [problem for problem in problems if isinstance(problem, UsageError)]
    if len(of_recipe) == len(problems):
        return of_recipe[0]
    return EnvironmentProblem(
        "no backbone has its weights stored, and downloads are disabled: there is nothing to "
        "choose from",
        hint="with a network: tltool weights pull efficientnet_lite0",
    )
