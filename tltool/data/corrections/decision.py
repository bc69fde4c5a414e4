"""One decision of a person about one image, and what several decisions come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Action = Literal["relabel", "keep", "exclude", "unsure", "undo"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Decision:
    """One row of a corrections file.

    Attributes:
        sha256: digest of the bytes of the image (hex): the image is found by it, wherever it lies.
        file: its path as it was shown, for people.
        action: relabel gives it ``new_label``; keep confirms its label; exclude leaves it out of
            every split; unsure changes nothing; undo withdraws the person's decision before.
        old_label: its label when the decision was made.
        new_label: its new label; empty for the other actions.
        who: name of the person.
        when: UTC, as 2026-01-31T23:59:59Z.
        why: a reason; may be empty.
    """

    sha256: str
    file: str
    action: Action
    old_label: str
    new_label: str = ""
    who: str = ""
    when: str = ""
    why: str = ""

    @property
    def label(self) -> str | None:
        """The label that the image is to have; None for an image that is to be left out."""
        return {"relabel": self.new_label, "exclude": None}.get(self.action, self.old_label)


@dataclass(frozen=True)
class Conflict:
    """People who disagree about an image: their last decisions, one or more of each person."""

    decisions: tuple[Decision, ...]

    def describe(self) -> str:
        """Return a phrase such as ``cats/3.jpg (ann: cat, bob: exclude)``."""
        views = ", ".join(
            f"{one.who or 'unnamed'}: {'exclude' if one.label is None else one.label}"
            for one in self.decisions
        )
        return f"{self.decisions[0].file} ({views})"


def standing(decisions: Iterable[Decision]) -> dict[str, dict[str, Decision]]:
    """Return the decision of each person that counts, by digest of the image, then by person.

    The last decision of a person counts. An undo withdraws it, so that the one before counts again.

    Examples:
        >>> made = [Decision("ab", "1.jpg", action, "cat") for action in ("exclude", "undo")]
        >>> standing(made)
        {}
    """
    history: dict[tuple[str, str], list[Decision]] = {}
    for one in decisions:
        made = history.setdefault((one.sha256, one.who), [])
        if one.action != "undo":
            made.append(one)
        elif made:
            made.pop()
    result: dict[str, dict[str, Decision]] = {}
    for (sha256, who), made in history.items():
        if made:
            result.setdefault(sha256, {})[who] = made[-1]
    return result


def combine(
    decisions: Iterable[Decision], *, prefer: str | None = None
) -> tuple[dict[str, Decision], tuple[Conflict, ...]]:
    """Return what is decided of each image, by its digest, and the conflicts between people.

    Args:
        decisions: rows in the order in which they were made.
        prefer: the person whose decision counts where people disagree.
    """
    decided: dict[str, Decision] = {}
    conflicts = []
    for sha256, by_person in standing(decisions).items():
        sure = [one for one in by_person.values() if one.action != "unsure"]
        chosen = _agreed(sure, by_person, prefer)
        if chosen is not None:
            decided[sha256] = chosen
        elif sure:
            conflicts.append(Conflict(tuple(sure)))
    return decided, tuple(conflicts)


def _agreed(
    sure: Sequence[Decision], by_person: Mapping[str, Decision], prefer: str | None
) -> Decision | None:
    """Return the decision that counts; None without one, or where people disagree."""
    if len({one.label for one in sure}) == 1:
        return sure[-1]
    preferred = by_person.get(prefer) if prefer is not None else None
    return preferred if preferred in sure else None
