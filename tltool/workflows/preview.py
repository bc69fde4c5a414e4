"""A picture of what augmentation does to photos, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.augment.spec import AugmentSpec
from tltool.errors import EnvironmentProblem, UsageError
from tltool.evaluation.contact_sheet import Column, draw_sheet
from tltool.events import Observer, SilentObserver
from tltool.features.views import PhotoSource
from tltool.models.backbones import get_backbone
from tltool.recipe.schema import Recipe
from tltool.workflows import unpack
from tltool.workflows.augmentation import augment_spec, one_by_one, settled
from tltool.workflows.photos import open_photos

_TRIES = 12  # batches, for one in which photos are blended so that it can be seen
_EPOCHS = 3  # of the whole policy that are shown


@dataclass(frozen=True)
class Preview:
    """A contact sheet.

    Attributes:
        picture: the PNG file.
        policy: name of the policy.
        why: the reason for it.
        changes: keys of what is shown alone.
        photos: files of the photos shown.
    """

    picture: Path
    policy: str
    why: str
    changes: tuple[str, ...]
    photos: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "picture": str(self.picture),
            "policy": self.policy,
            "why": self.why,
            "changes": list(self.changes),
            "photos": [str(path) for path in self.photos],
        }


def check_picture(path: Path) -> None:
    """Refuse a picture that cannot be written, before any work is done.

    Raises:
        UsageError: it exists, or its folder does not, or it is no PNG file.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"'{path}' is not called .png", hint="such as --to preview.png")
    if path.exists():
        raise UsageError(
            f"'{path}' exists", hint="nothing is replaced: give another name with --to"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"'{path}' cannot be written: its folder does not exist",
            hint="give a file in a folder that exists with --to",
        )


def preview(
    source: str,
    *,
    recipe: Recipe,
    rows: int,
    every: bool,
    to: Path,
    offline: bool = False,
    observer: Observer | None = None,
) -> Preview:
    """Draw training photos as they are, under each change alone, and under the whole policy.

    Photos get the changes that the first epochs of a live run (or the first views of a cache) give
    them; blends are made among the photos of the sheet.

    Args:
        source: the photos, as ``finetune`` takes them.
        recipe: whose augmentation is shown.
        rows: photos, at least 2.
        every: also show changes that the recipe does not make, at their defaults.
        to: the PNG file; it must not exist.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError: the picture cannot be written, or the backbone is unknown.
        DataError: the photos cannot be used.
        EnvironmentProblem: the disk refuses the picture.
    """
    observer = observer or SilentObserver()
    check_picture(to)
    backbone = get_backbone(recipe.model.backbone)
    observer.on_phase("audit", source)
    data = open_photos(
        source,
        test=None,
        settings=recipe.data,
        seed=recipe.seed,
        offline=offline,
        observer=observer,
    )
    train = data.source("train", decode=unpack.decode_spec(recipe, backbone), batch_size=rows)
    section, choice = settled(recipe.augment, len(train))
    alone, whole = one_by_one(section, every=every), augment_spec(section)
    positions = _from_every_class(train.labels, rows)
    together = replace(train, batch_size=len(positions))
    show = _Shown(together, positions, data.catalog.class_names, recipe.seed)
    observer.on_phase("preview", f"{len(alone)} changes")
    columns = [
        show.column(name, spec, tries=_TRIES if spec.mixes else 1) for name, spec in alone.items()
    ]
    if not whole.identity:
        columns += [
            show.column(f"all together, epoch {epoch}", whole, epoch=epoch)
            for epoch in range(1, _EPOCHS + 1)
        ]
    first = show.column("as it is", AugmentSpec(), epoch=0)
    try:
        draw_sheet(
            to,
            first,
            columns,
            title=f"Augmentation: policy {choice.policy}",
            subtitle=f"{choice.why}; seed {recipe.seed}; single changes are made to every photo",
        )
    except OSError as error:
        raise EnvironmentProblem(f"'{to}' cannot be written: {error.strerror}") from None
    photos = tuple(train.items[position].path for position in show.positions)
    return Preview(to, choice.policy, choice.why, tuple(alone), photos)


@dataclass(frozen=True)
class _Shown:
    train: PhotoSource
    positions: np.ndarray
    class_names: tuple[str, ...]
    seed: int

    def column(self, name: str, spec: AugmentSpec, *, epoch: int = 1, tries: int = 1) -> Column:
        """Return the chosen photos under one change, from the batch of ``tries`` that blends most.

        The first batch is what the epoch sees.
        """
        positions = np.tile(self.positions, tries)
        batches = self.train.some(spec, positions, seed=self.seed, epoch=epoch)
        found = [(images, labels) for _, images, labels in batches.as_numpy_iterator()]
        images, labels = min(found, key=lambda batch: float(batch[1].max(axis=1).sum()))
        whole = images.clip(0, 255).round().astype(np.uint8)
        return Column(name, whole, [self._caption(label) for label in labels])

    def _caption(self, label: np.ndarray) -> str:
        shares = label / label.sum()
        order = np.argsort(-shares, kind="stable")
        parts = [(self.class_names[n], shares[n]) for n in order if shares[n] >= 0.005]
        if len(parts) == 1:
            return parts[0][0]
        return " + ".join(f"{share:.0%} {name}" for name, share in parts)


def _from_every_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return positions of photos, one of each class in turn, evenly spread over each."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    turns = -(-count // len(classes))
    spread = [
        members[np.unique(np.linspace(0, len(members) - 1, min(turns, len(members))).astype(int))]
        for members in classes
    ]
    longest = max(map(len, spread))
    taken = [one[turn] for turn in range(longest) for one in spread if turn < len(one)]
    return np.array(taken[:count], np.int64)
