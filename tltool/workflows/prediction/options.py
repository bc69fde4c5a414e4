"""Options of prediction, checked before any framework is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tltool.errors import UsageError
from tltool.workflows.prediction.class_folders import Sorting
from tltool.workflows.prediction.output_file import check_answer_file
from tltool.workflows.preflight.arguments import check_model


def check_predicting(
    model: Path,
    images: Sequence[str],
    *,
    output: Path | None,
    append: bool,
    sorting: Sorting | None,
    sets: float | None,
    tta: str,
) -> None:
    """Refuse what ``predict_many`` could not do; its arguments are these.

    Raises:
        UsageError: options that do not go together, no such model, or no place for the answers.
    """
    if append and output is None:
        raise UsageError("--append needs a file to go on with", hint="name it with --output")
    check_sets(sets, tta)
    if output is not None:
        check_answer_file(output, append=append)
    if sorting:
        sorting.check(images)
    check_model(model)


def check_sets(sets: float | None, tta: str) -> None:
    """Refuse prediction sets of averaged probabilities.

    Raises:
        UsageError: both are wanted.
    """
    if sets and tta != "none":
        raise UsageError(
            "--sets with --tta would not hold what it promises: the sets are calibrated on answers "
            "to the images as they are",
            hint="leave out one of the two",
        )
