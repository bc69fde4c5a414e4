"""Hand images of a review to Label Studio or FiftyOne, and take the labels back as decisions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import DataError, UsageError, reading, some_of
from tltool.review.label_files import (
    Form,
    ImportedLabel,
    fiftyone_labels,
    label_studio_config,
    label_studio_tasks,
    labels_of,
)
from tltool.review.queues import QueueEntry, ReviewData
from tltool.review.session import ReviewSession
from tltool.runs.json_text import from_json, to_json
from tltool.storage.durable import new_file


@dataclass(frozen=True)
class ImportedLabels:
    """What became of the labels of a file.

    Attributes:
        decisions: how many decisions were added, by action: relabel or keep.
        known: how many the corrections file had already.
        unknown: the images of the file that are not among those of the review.
    """

    decisions: dict[str, int]
    known: int
    unknown: tuple[str, ...]


def export_labels(data: ReviewData, output: Path, form: Form, *, queue: str | None) -> list[Path]:
    """Write images of a review, of one queue or all, for another program; return the files.

    For Label Studio these are the tasks and, beside them, the configuration of the project.

    Args:
        data: images and queues.
        output: a new JSON file.
        form: the program.
        queue: name of a queue; None for all images.

    Raises:
        UsageError: a file exists, or the name ends in .xml for Label Studio.
        DataError: two images have one name for FiftyOne.
    """
    entries = _entries(data, queue)
    if form == "fiftyone":
        _write(output, to_json(fiftyone_labels(data, entries)))
        return [output]
    config = output.with_suffix(".xml")
    if config == output or config.exists():
        used = "is the file of the labelling interface" if config == output else "exists"
        raise UsageError(f"'{config}' {used}", hint="no file is replaced: give another name")
    _write(output, to_json(label_studio_tasks(data, entries)))
    _write(config, label_studio_config(data.class_names))
    return [output, config]


def import_labels(data: ReviewData, file: Path, *, corrections: Path, who: str) -> ImportedLabels:
    """Add the labels of a file of Label Studio or FiftyOne to a corrections file.

    A label that is that of the image is the decision to keep it. What a person has decided in the
    same way already is not added again.

    Args:
        data: the images.
        file: JSON or JSON-MIN of Label Studio, or labels.json of FiftyOne.
        corrections: where decisions are appended; created if absent.
        who: the person, where the file names nobody.

    Raises:
        UsageError: there is no such file.
        DataError: it is of another form, has a class that the data have not, or none of its images
            is among those of the review.
        EnvironmentProblem: ``corrections`` cannot be written.
    """
    if not file.is_file():
        raise UsageError(f"there is no file '{file}'", hint="check the path for a typo")
    with reading(file, "file of labels", hint="export JSON from Label Studio or FiftyOne"):
        labels = list(labels_of(data, from_json(file.read_bytes())))
    fitting = [one for one in labels if one.image is not None]
    unknown = tuple(dict.fromkeys(one.shown for one in labels if one.image is None))
    if labels and not fitting:
        raise DataError(
            f"no image of '{file}' is among the images that are reviewed: {some_of(unknown, 3)}",
            hint="give the data set or the run that the labels belong to",
        )
    for one in fitting:
        if one.label not in data.class_names:
            raise DataError(
                f"'{file}' gives {one.shown} the label {one.label!r}, which is no class of the"
                " data",
                hint=f"the classes are {some_of(data.class_names)}",
            )
    added: Counter[str] = Counter()
    by_person: dict[str, list[ImportedLabel]] = defaultdict(list)
    for one in fitting:
        by_person[one.who or who].append(one)
    for person, given in by_person.items():
        added += _add(ReviewSession(data, corrections, person), given, f"from {file.name}")
    return ImportedLabels(dict(added), len(fitting) - added.total(), unknown)


def _add(session: ReviewSession, labels: Sequence[ImportedLabel], why: str) -> Counter[str]:
    """Add the labels of one person, and count the decisions by action."""
    images: dict[str, list[int]] = defaultdict(list)
    added: Counter[str] = Counter()
    last = {one.image: one.label for one in labels}  # of several of one person the last counts
    for position, label in last.items():
        assert position is not None
        image = session.data.images[position]
        action = "keep" if label == image.label else "relabel"
        decision = session.decision_of(image) or {}
        words = "kept" if action == "keep" else label
        if (decision.get("action"), decision.get("words")) != (action, words):
            images[label].append(position)
            added[action] += 1
    for label, positions in images.items():
        session.decide(positions, "relabel", label, why)
    return added


def _entries(data: ReviewData, queue: str | None) -> list[QueueEntry]:
    """Return the images of a queue; or all images, each with its first suggestion."""
    if queue is not None:
        return list(next(one.entries for one in data.queues if one.name == queue))
    first: dict[int, QueueEntry] = {}
    for one in (entry for each in data.queues for entry in each.entries):
        if one.image not in first or (one.suggested and not first[one.image].suggested):
            first[one.image] = one
    return [first.get(number, QueueEntry(number)) for number in range(len(data.images))]


def _write(path: Path, text: str) -> None:
    with new_file(path) as part:
        part.write_text(f"{text.rstrip()}\n", encoding="utf-8", errors="surrogateescape")
