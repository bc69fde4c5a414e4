"""The decisions of a review: what each image has got so far, and the file that they go to."""

from __future__ import annotations

import datetime
import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tltool.data.corrections.corrections_file import CorrectionsFile, read_corrections
from tltool.data.corrections.decision import Action, Decision, standing
from tltool.data.decoding.image_errors import ImageError
from tltool.data.decoding.image_file import read_image_file
from tltool.errors import DataError, EnvironmentProblem
from tltool.review.queues import Queue, ReviewData, ReviewImage


class ReviewSession:
    """Takes decisions of one person. Several tabs, and several processes, may write to one file.

    Args:
        data: what is reviewed.
        file: where decisions are appended.
        who: name of the person.

    Raises:
        DataError: ``file`` is no corrections file.
        EnvironmentProblem: it cannot be written.
    """

    def __init__(self, data: ReviewData, file: Path, who: str) -> None:
        self.data, self.who = data, who
        self._file = CorrectionsFile(file)
        self._lock = threading.Lock()
        self._size = -1
        self._standing: dict[str, dict[str, Decision]] = {}
        self._copies: dict[str, list[int]] = {}
        self._counts: dict[str, Counter[str]] = {}  # of each queue: its images by digest
        for number, one in enumerate(data.images):
            self._copies.setdefault(one.sha256, []).append(number)
        self._refresh()

    @property
    def path(self) -> Path:
        """The corrections file."""
        return self._file.path

    def _refresh(self) -> None:
        """Read the file again if it has grown: another process writes to it too."""
        try:
            size = self._file.path.stat().st_size
        except OSError as error:
            raise EnvironmentProblem(
                f"the corrections file '{self._file.path}' is gone: {error.strerror}",
                hint="put it back, or start the review again",
            ) from None
        if size != self._size:
            self._standing = standing(read_corrections(self._file.path))
            self._size = size

    def decision_of(self, image: ReviewImage) -> dict[str, Any] | None:
        """Return the person's decision about an image, and those of others, for the page."""
        by_person = self._standing.get(image.sha256, {})
        if not by_person:
            return None
        own = by_person.get(self.who)
        others = [
            f"{one.who or 'somebody'}: {_words(one, image)}"
            for one in by_person.values()
            if one.who != self.who
        ]
        disagree = len({one.label for one in by_person.values() if one.action != "unsure"}) > 1
        return {
            "action": own.action if own else None,
            "words": _words(own, image) if own else "",
            "others": others,
            "conflict": disagree,
        }

    def with_copies(self, images: Iterable[int]) -> list[int]:
        """Return the numbers of images and of all their exact copies."""
        chosen = {self.data.images[number].sha256 for number in images}
        return sorted(number for one in chosen for number in self._copies[one])

    def decided(self, queue: Queue) -> int:
        """Return how many images of a queue the person has decided."""
        counts = self._counts.get(queue.name)
        if counts is None:
            images = self.data.images
            counts = Counter(images[one.image].sha256 for one in queue.entries)
            self._counts[queue.name] = counts
        return sum(counts[sha256] for sha256, made in self._standing.items() if self.who in made)

    def first_open(self, queue: Queue) -> int:
        """Return the place of the first image without a decision of the person; 0 if all have."""
        for place, one in enumerate(queue.entries):
            if self.who not in self._standing.get(self.data.images[one.image].sha256, ()):
                return place
        return 0

    def refresh(self) -> None:
        """Take in what other processes have written."""
        with self._lock:
            self._refresh()

    def decide(self, images: Iterable[int], action: Action, label: str = "", why: str = "") -> None:
        """Record one decision about several images; it is on disk when this returns.

        Raises:
            DataError: there is no such class, or a file has changed since it was listed.
            EnvironmentProblem: the file cannot be written.
        """
        chosen = [self.data.images[number] for number in images]
        if action == "relabel" and label not in self.data.class_names:
            raise DataError(f"there is no class {label!r}")
        if action == "keep" and not all(one.label for one in chosen):
            raise DataError("there is no label to keep: accept the suggestion or choose a class")
        with self._lock:
            self._refresh()
            if action == "undo":
                chosen = [one for one in chosen if self.who in self._standing.get(one.sha256, ())]
            else:
                for one in chosen:
                    _check_unchanged(one)
            rows = [self._row(one, action, label, why) for one in _distinct(chosen)]
            if rows:
                self._file.append(rows)
            self._refresh()

    def _row(self, image: ReviewImage, action: Action, label: str, why: str) -> Decision:
        if action == "relabel" and label == image.label:
            action = "keep"
        return Decision(
            image.sha256,
            image.file,
            action,
            image.label,
            label if action == "relabel" else "",
            self.who,
            f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
            why,
        )


def _distinct(images: Sequence[ReviewImage]) -> list[ReviewImage]:
    """Return one image of each content: a decision is about all exact copies."""
    return list({one.sha256: one for one in reversed(images)}.values())[::-1]


def _check_unchanged(image: ReviewImage) -> None:
    try:
        content = read_image_file(image.path)
    except ImageError as error:
        raise DataError(f"{image.file} cannot be read: {error}") from None
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise DataError(f"{image.file} has changed since it was listed; start the review again")


def _words(decision: Decision, image: ReviewImage) -> str:
    """Return a decision as the page shows it beside an image.

    The decision may have been made about a copy of the image with another label.
    """
    words = {"keep": "kept", "exclude": "left out", "unsure": "unsure"}
    if decision.action == "keep" and decision.old_label != image.label:
        return decision.old_label
    return words.get(decision.action, decision.new_label)
