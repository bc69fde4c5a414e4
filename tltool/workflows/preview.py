"""A picture of what augmentation does to images, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.checks.recipe_choice import tiny_and_grey
from tltool.errors import EnvironmentProblem
from tltool.evaluation.plots.contact_sheet import Column, draw_sheet
from tltool.events import Observer, SilentObserver
from tltool.features.preview_samples import DRAWS, Shown
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.schema import Recipe
from tltool.workflows.dataset.dataset import load_dataset
from tltool.workflows.preflight.arguments import check_picture
from tltool.workflows.resolve import specs
from tltool.workflows.resolve.augmentation import (
    augment_spec,
    feature_spec,
    resolve_augmentation,
    single_transforms,
)

_EPOCHS = 3  # of the whole policy that are shown


@dataclass(frozen=True)
class Preview:
    """A contact sheet.

    Attributes:
        picture: the PNG file.
        policy: name of the policy.
        why: the reason for it.
        changes: keys of what is shown alone.
        changed: whether the policy changes images at all.
        not_drawn: keys of what the recipe changes in cached features, which no picture shows.
        images: files of the images shown.
    """

    picture: Path
    policy: str
    why: str
    changes: tuple[str, ...]
    changed: bool
    not_drawn: tuple[str, ...]
    photos: tuple[Path, ...]

    @property
    def remarks(self) -> list[str]:
        """What the columns alone do not tell, in sentences."""
        found = [] if self.changed else ["Nothing is changed in images."]
        if self.changes:
            found.append(
                f"Each change alone is made to every image: the strongest of {DRAWS} draws; of "
                "blends, one that keeps about half."
            )
        if self.not_drawn:
            found.append(
                f"Changes of cached features cannot be drawn: {', '.join(self.not_drawn)}."
            )
        return found

    def told(self, seed: int) -> str:
        """What stands below the title."""
        return " ".join([f"{self.why}; seed {seed}.", *self.remarks])

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "picture": str(self.picture),
            "policy": self.policy,
            "why": self.why,
            "changes": list(self.changes),
            "not_drawn": list(self.not_drawn),
            "photos": [str(path) for path in self.photos],
        }


def preview(
    source: str,
    *,
    recipe: Recipe,
    rows: int,
    every: bool,
    output: Path,
    offline: bool = False,
    observer: Observer | None = None,
) -> Preview:
    """Draw training images as they are, under each change alone, and under the whole policy.

    Alone, each change is made to every image, as the draw that shows it best. The whole policy is
    what the first epochs of a live run (or the first views of a cache) give; blends are made among
    the images of the sheet.

    Args:
        source: the images, as ``finetune`` takes them.
        recipe: whose augmentation is shown.
        rows: images, at least 2.
        every: also show changes that the recipe does not make, at their defaults.
        output: the PNG file; it must not exist.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError: the picture cannot be written, or the backbone is unknown.
        DataError: the images cannot be used.
        EnvironmentProblem: the disk refuses the picture.
    """
    observer = observer or SilentObserver()
    check_picture(output, option="--output")
    backbone = get_backbone(recipe.model.backbone)
    observer.on_phase("audit", source)
    data = load_dataset(
        source,
        test=None,
        settings=recipe.data,
        seed=recipe.seed,
        offline=offline,
        observer=observer,
    )
    train = data.source("train", decode=specs.decode_spec(recipe, backbone), batch_size=rows)
    section, choice = resolve_augmentation(
        recipe.augment, len(train), signs=tiny_and_grey(train.items)
    )
    alone, whole = single_transforms(section, every=every), augment_spec(section)
    positions = _from_every_class(train.labels, rows)
    shown = Shown(replace(train, batch_size=len(positions)), positions, recipe.seed)
    sheet = _Sheet(shown, data.catalog.class_names)
    observer.on_phase("preview", f"{len(alone)} changes")
    columns = [sheet.column(name, *shown.clearest(spec)) for name, spec in alone.items()]
    if not whole.identity:
        columns += [
            sheet.column(f"all together, epoch {epoch}", *shown.at_epoch(whole, epoch))
            for epoch in range(1, _EPOCHS + 1)
        ]
    first = sheet.column("as it is", *shown.plain)
    photos = tuple(train.items[position].path for position in positions)
    found = Preview(
        output,
        choice.policy,
        choice.why,
        tuple(alone),
        not whole.identity,
        tuple(feature_spec(section).names),
        photos,
    )
    try:
        draw_sheet(
            output,
            first,
            columns,
            title=f"Augmentation: policy {choice.policy}",
            subtitle=found.told(recipe.seed),
        )
    except OSError as error:
        raise EnvironmentProblem(f"'{output}' cannot be written: {error.strerror}") from None
    return found


@dataclass(frozen=True)
class _Sheet:
    shown: Shown
    class_names: tuple[str, ...]

    def column(self, name: str, images: np.ndarray, labels: np.ndarray) -> Column:
        """Return a column of changed images with their labels as captions."""
        whole = images.clip(0, 255).round().astype(np.uint8)
        own = self.shown.train.labels[self.shown.positions]
        captions = [self._caption(label, int(one)) for label, one in zip(labels, own, strict=True)]
        return Column(name, whole, captions)

    def _caption(self, label: np.ndarray, own: int) -> str:
        """Return the shares of the classes; the image's own class comes first."""
        shares = label / label.sum()
        order = sorted(range(len(shares)), key=lambda n: (n != own, -shares[n]))
        parts = [(self.class_names[n], shares[n]) for n in order if shares[n] >= 0.005]
        if len(parts) == 1:
            return parts[0][0]
        return " + ".join(f"{share:.0%} {name}" for name, share in parts)


def _from_every_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return positions of images, one of each class in turn, evenly spread over each."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    turns = -(-count // len(classes))
    spread = [
        members[np.unique(np.linspace(0, len(members) - 1, min(turns, len(members))).astype(int))]
        for members in classes
    ]
    longest = max(map(len, spread))
    taken = [one[turn] for turn in range(longest) for one in spread if turn < len(one)]
    return np.array(taken[:count], np.int64)
