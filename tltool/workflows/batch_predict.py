"""Answers to thousands of images: written, sorted and counted one by one, none of them kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.errors import Interrupted
from tltool.events import Observer
from tltool.inference import Tta
from tltool.workflows.predict import start_predicting
from tltool.workflows.prediction.class_folders import ImageSorter, Sorting
from tltool.workflows.prediction.model import model_digest
from tltool.workflows.prediction.options import check_predicting
from tltool.workflows.prediction.output_file import (
    Answered,
    Columns,
    answer_file,
    predicted_before,
)
from tltool.workflows.prediction.prediction import Prediction


@dataclass
class Tally:
    """What was answered.

    Attributes:
        columns: what can be told of each image.
        wanted: files to be answered.
        answered: images with an answer.
        failed: files without one.
        unknown: images unlike those that the model has learned from.
        skipped: files that had been answered before.
        failed_before: of these, or of others in the file, those with an error.
        by_class: images per class, without those that are unknown.
        placed: images per folder, where they were sorted.
        there_before: of these, images that lay there already.
    """

    columns: Columns
    wanted: int = 0
    answered: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    failed_before: int = 0
    there_before: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)

    def count(self, answer: Prediction) -> None:
        """Count one answer."""
        if answer.error is not None:
            self.failed += 1
            return
        self.answered += 1
        if answer.is_known is False:
            self.unknown += 1
        else:
            self.by_class[answer.top[0][0]] += 1


def predict_many(
    model: Path | str,
    images: Sequence[str],
    *,
    top: int,
    sets: float | None,
    tta: Tta,
    output: Path | None,
    append: bool,
    sorting: Sorting | None,
    each: Callable[[Columns], Callable[[Prediction], None]] | None,
    observer: Observer,
    **how: Any,
) -> Tally:
    """Answer all images and return what came out; memory does not grow with their number.

    Args:
        model: a run folder or an exported model.
        images: image files, folders, or other sources of images.
        top: how many classes to name per image.
        sets: coverage of prediction sets; None for none.
        output: a .csv or .jsonl file that gets an answer as soon as it is there.
        append: whether to go on where ``output`` ends.
        sorting: how to put the images into folders; None leaves them alone.
        each: is told the columns and returns what is called with every answer.
        observer: told about the progress.
        tta: over which changed copies to average.
        how: further arguments of ``predict``.

    Raises:
        UsageError, DataError, EnvironmentProblem: see `tltool.errors`.
    """
    check_predicting(
        Path(model), images, output=output, append=append, sorting=sorting, sets=sets, tta=tta
    )
    before = predicted_before(output) if output and append else Answered()
    predicting = start_predicting(
        model,
        images,
        top=top,
        sets=sets,
        tta=tta,
        done=before.paths,
        once=True,
        observer=observer,
        **how,
    )
    ranks = min(top, len(predicting.class_names))
    by = _answered_by(Path(model), ranks=ranks, sets=sets, tta=tta)
    columns = Columns(ranks, predicting.has_ood_detector, sets is not None, by)
    tally = Tally(
        columns, predicting.count, skipped=predicting.skipped, failed_before=before.failed
    )
    sorter = ImageSorter(sorting, predicting.class_names) if sorting else None
    with ExitStack() as stack:
        write = stack.enter_context(answer_file(output, columns, before)) if output else None
        tell = each(columns) if each else None
        try:
            for answer in predicting.answers:
                if sorter:
                    sorter.place(answer)
                if tell:
                    tell(answer)
                if write:
                    write(answer)
                tally.count(answer)
        except KeyboardInterrupt:
            raise _stopped(tally, output) from None
    if sorter:
        tally.placed, tally.there_before = sorter.counts, sorter.there_before
    return tally


def _stopped(tally: Tally, output: Path | None) -> Interrupted:
    if output is None:
        return Interrupted("interrupted")
    done = tally.answered + tally.failed
    return Interrupted(
        f"interrupted; {done:,} of {tally.wanted:,} answers are in '{output}'",
        hint="the same command with --append goes on from there",
    )


def _answered_by(model: Path, *, ranks: int, sets: float | None, tta: Tta) -> str:
    """Return what the answers depend on beside the image, in words."""
    options = [("top", ranks, 1), ("sets", sets, None), ("tta", tta, "none")]
    told = [f"{name}={value}" for name, value, usual in options if value != usual]
    return " ".join([model_digest(model), *told])
