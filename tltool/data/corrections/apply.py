"""Applies corrections to audited images: by content, so that moved and renamed files are found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tltool.data.corrections.corrections_file import read_corrections
from tltool.data.corrections.decision import Decision, combine
from tltool.data.item import Item
from tltool.data.item_columns import ItemColumns
from tltool.errors import DataError, counted, did_you_mean, some_of

_NAMED = 5


@dataclass(frozen=True)
class Corrections:
    """What a corrections file says of each image.

    Attributes:
        file: for messages.
        decisions: by the digest of the image.
    """

    file: Path
    decisions: Mapping[str, Decision]

    def check_classes(self, class_names: Collection[str]) -> None:
        """Check that every new label is a class of the data.

        Raises:
            DataError: one is not.
        """
        for one in self.decisions.values():
            if one.action == "relabel" and one.new_label not in class_names:
                raise DataError(
                    f"'{self.file}' gives {one.file} the label {one.new_label!r}, which is no "
                    "class of the data",
                    hint=f"the classes are {some_of(sorted(class_names))}."
                    f"{did_you_mean(one.new_label, class_names)}",
                )

    def apply(self, items: ItemColumns) -> CorrectedItems:
        """Return the items with their new labels, without those that are left out.

        A decision does not fit any more if the images of its content have neither the old nor the
        new label: somebody has moved them to another class since. Such images stay as they are.

        Args:
            items: audited images: their ``sha256`` is known.
        """
        labels: dict[str, set[str]] = {}
        for sha256, label in zip(items.digests(), items.labels(), strict=True):
            if sha256 in self.decisions:
                labels.setdefault(sha256, set()).add(label)
        fitting = {
            sha256: one
            for sha256, one in self.decisions.items()
            if labels.get(sha256, set()) & {one.old_label, one.label}
        }
        kept, relabelled, excluded = ItemColumns(), [], []
        for item in items:
            decision = fitting.get(item.sha256)
            if decision is None or decision.label == item.label:
                kept.append(item)
            elif decision.label is None:
                excluded.append(item)
            else:
                kept.append(replace(item, label=decision.label))
                relabelled.append((item, decision.label))
        gone = [one for sha256, one in self.decisions.items() if sha256 not in labels]
        stale = [one for sha256, one in self.decisions.items() if sha256 in labels.keys() - fitting]
        return CorrectedItems(kept, tuple(relabelled), tuple(excluded), tuple(gone), tuple(stale))


@dataclass(frozen=True)
class CorrectedItems:
    """Images after corrections.

    Attributes:
        items: the images with their labels.
        relabelled: (the image with its label before, its new label).
        excluded: images that were left out.
        gone: decisions about images that are not in the data.
        stale: decisions about images that have got another label since.
    """

    items: ItemColumns
    relabelled: tuple[tuple[Item, str], ...]
    excluded: tuple[Item, ...]
    gone: tuple[Decision, ...]
    stale: tuple[Decision, ...]

    def warnings(self, file: Path) -> list[str]:
        """Return a sentence for each kind of decision that does not fit the data."""
        sentences = (
            (self.gone, "about images that are not in the data"),
            (self.stale, "about images whose label is neither the old nor the new one any more"),
        )
        return [
            f"{file.name}: {len(rows):,} decisions {what} are not applied: {_some(rows)}"
            for rows, what in sentences
            if rows
        ]


def load_corrections(file: Path, *, prefer: str | None = None) -> Corrections:
    """Read a corrections file of which no two people disagree, or one of them is preferred.

    Args:
        file: written by `tltool review`.
        prefer: the person whose decision counts where people disagree.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged, people disagree, or ``prefer`` has made no decision.
    """
    rows = read_corrections(file)
    people = sorted({row.who for row in rows})
    if prefer is not None and prefer not in people:
        raise DataError(
            f"'{file}' has no decision of {prefer!r}",
            hint=f"--corrections-by names one of {some_of(people)}" if people else "it is empty",
        )
    decisions, conflicts = combine(rows, prefer=prefer)
    if conflicts:
        shown = "; ".join(one.describe() for one in conflicts[:_NAMED])
        more = f"; and {len(conflicts) - _NAMED} more" if len(conflicts) > _NAMED else ""
        raise DataError(
            f"'{file}': people disagree about {counted(len(conflicts), 'image', 'images')}: "
            f"{shown}{more}",
            hint="decide them in `tltool review`, or name the person whose decision counts with "
            "--corrections-by NAME",
        )
    return Corrections(file, decisions)


def _some(decisions: Sequence[Decision]) -> str:
    return some_of([one.file or one.sha256[:12] for one in decisions], _NAMED)
