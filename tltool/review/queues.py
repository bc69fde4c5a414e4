"""What the page shows: images, and queues of them with the reason why each is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ReviewImage:
    """One image to review.

    Attributes:
        path: the file.
        file: its path as it is shown and recorded.
        label: its label; empty for an image that has none yet.
        sha256: digest of its bytes when it was listed (hex).
        split: train, validation or test; empty without a split.
    """

    path: Path
    file: str
    label: str
    sha256: str
    split: str = ""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """An image in a queue.

    Attributes:
        image: its position in the list of all images.
        suggested: the class that it more probably has; empty without one.
        reason: why it is in the queue; may be empty.
    """

    image: int
    suggested: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Queue:
    """Images to review for one reason, the most urgent first.

    Attributes:
        name: in addresses, such as ``label-issues``.
        title: for people.
        about: one sentence on what is in it.
        entries: the images.
    """

    name: str
    title: str
    about: str
    entries: tuple[QueueEntry, ...]


@dataclass(frozen=True)
class ReviewData:
    """All that a review is about.

    Attributes:
        title: name of the run or of the data.
        images: all images.
        class_names: the classes that an image may get.
        queues: those that are not empty.
    """

    title: str
    images: tuple[ReviewImage, ...]
    class_names: tuple[str, ...]
    queues: tuple[Queue, ...]


def class_queues(images: tuple[ReviewImage, ...], class_names: tuple[str, ...]) -> list[Queue]:
    """Return a queue with all images of each class."""
    by_class: dict[str, list[QueueEntry]] = {name: [] for name in class_names}
    for number, image in enumerate(images):
        by_class.setdefault(image.label, []).append(QueueEntry(number))
    return [
        Queue(f"class-{number}", f"all of {name}", f"Every image of {name}.", tuple(entries))
        for number, (name, entries) in enumerate(by_class.items())
        if entries
    ]
