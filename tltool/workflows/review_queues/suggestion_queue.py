"""A queue of the images that ``tltool suggest`` chose: they have no label yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tltool.errors import DataError, counted
from tltool.events import Observer
from tltool.review.queues import Queue, QueueEntry, ReviewData, ReviewImage
from tltool.workflows.review_queues.suggestion_file import Suggestion, read_suggestions

QUEUE = "suggested"


def with_suggestions(data: ReviewData, file: Path, observer: Observer) -> ReviewData:
    """Return a review with the suggested images, without a label, as its first queue.

    Args:
        data: whose classes the images may get.
        file: written by ``tltool suggest``.
        observer: receives which images are left out.

    Raises:
        UsageError: there is no such file.
        DataError: it is another file, or none of its images is a file here without a label.
    """
    rows = read_suggestions(file)
    labelled = {image.sha256 for image in data.images}
    new = [row for row in rows if row.sha256 not in labelled]
    present = [row for row in new if Path(row.path).is_file()]
    if not present:
        raise _none_left(file, rows, new)
    if len(present) < len(rows):
        observer.on_message(
            f"{file.name}: left out {counted(len(rows) - len(new), 'image', 'images')} with a "
            f"label already, and {len(new) - len(present):,} that are no files here",
            level="warning",
        )
    first = len(data.images)
    images = tuple(ReviewImage(Path(one.path), str(one.path), "", one.sha256) for one in present)
    entries = tuple(
        QueueEntry(number, _class_of(one, data), one.reason)
        for number, one in enumerate(present, start=first)
    )
    about = "Images without a label that tltool suggest has chosen: give each its class."
    queue = Queue(QUEUE, "to label next", about, entries)
    return replace(data, images=data.images + images, queues=(queue, *data.queues))


def _class_of(row: Suggestion, data: ReviewData) -> str:
    return row.predicted if row.predicted in data.class_names else ""


def _none_left(file: Path, rows: Sequence[Suggestion], new: Sequence[Suggestion]) -> DataError:
    if not rows:
        return DataError(f"'{file}' names no image", hint="run `tltool suggest` again")
    if not new:
        return DataError(
            f"every image of '{file}' has a label already", hint="run `tltool suggest` again"
        )
    return DataError(
        f"no image of '{file}' is a file here, for example '{new[0].path}'",
        hint="run the command in the folder in which `tltool suggest` ran; unpack an archive, or "
        "copy the objects of a store, before `tltool suggest`",
    )
