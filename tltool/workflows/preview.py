"""Draw augmented training images as a contact sheet, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.audit.changed_files import files_as_audited
from tltool.data.checks.recipe_choice import looks_like_text
from tltool.errors import EnvironmentProblem
from tltool.evaluation.plots.contact_sheet import Column, draw_sheet
from tltool.events import Observer, SilentObserver
from tltool.features.preview_samples import SAMPLES, PreviewSamples
from tltool.recipe.schema import Recipe
from tltool.storage.durable import new_file
from tltool.training.own_settings import with_own_settings
from tltool.workflows.dataset.dataset import load_dataset
from tltool.workflows.dataset.image_size import fit_image_size
from tltool.workflows.preflight.arguments import check_picture
from tltool.workflows.resolve.augmentation import (
    augment_spec,
    feature_spec,
    resolve_augmentation,
    single_transforms,
)
from tltool.workflows.resolve.run_spec import resolve

_EPOCHS = 3  # columns that show the whole policy


@dataclass(frozen=True)
class Preview:
    """A contact sheet.

    Attributes:
        picture: the PNG file.
        policy: name of the policy.
        why: the reason for it.
        transforms: names of the transforms that have a column of their own.
        augmented: whether the policy transforms images at all.
        not_drawn: keys of augmentations of cached features, which have no picture.
        images: files of the images on the sheet.
    """

    picture: Path
    policy: str
    why: str
    transforms: tuple[str, ...]
    augmented: bool
    not_drawn: tuple[str, ...]
    images: tuple[Path, ...]

    @property
    def remarks(self) -> list[str]:
        """Notes on how to read the sheet, in sentences."""
        notes = [] if self.augmented else ["Images are not augmented."]
        if self.transforms:
            notes.append(
                f"Each transform alone is applied to every image: the strongest of {SAMPLES} "
                "samples, of blends one that keeps about half of the image."
            )
        if self.not_drawn:
            notes.append(
                f"Augmentation of cached features cannot be drawn: {', '.join(self.not_drawn)}."
            )
        return notes

    def subtitle(self, seed: int) -> str:
        """Return the text below the title of the sheet."""
        return " ".join([f"{self.why}; seed {seed}.", *self.remarks])

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "picture": str(self.picture),
            "policy": self.policy,
            "why": self.why,
            "transforms": list(self.transforms),
            "not_drawn": list(self.not_drawn),
            "images": [str(path) for path in self.images],
        }


@with_own_settings
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
    """Draw original training images, each transform alone, and the whole augmentation policy.

    Single transforms are applied to every image, and the sample that shows them best is drawn. The
    whole policy is drawn as in the first epochs of a run without cache (or the first views of a
    feature cache); blends use the images of the sheet.

    Args:
        source: data source, as for ``finetune``.
        recipe: the recipe whose augmentation is drawn.
        rows: number of images, at least 2.
        every: also draw transforms that the recipe does not use, with their default settings.
        output: the PNG file; it must not exist.
        offline: open no network connection.
        observer: receives the progress.

    Raises:
        UsageError: the picture cannot be written, or the backbone is unknown.
        DataError: the data cannot be used.
        EnvironmentProblem: writing the picture failed.
    """
    observer = observer or SilentObserver()
    check_picture(output, option="--output")
    observer.on_phase("audit", source)
    data = load_dataset(
        source,
        test=None,
        settings=recipe.data,
        seed=recipe.seed,
        offline=offline,
        observer=observer,
    )
    spec = fit_image_size(resolve(recipe), data, observer)
    train = data.source("train", decode=spec.decode, batch_size=rows)
    section, choice = resolve_augmentation(
        recipe.augment, len(train), looks_like_text=looks_like_text(train.items)
    )
    single, whole = single_transforms(section, every=every), augment_spec(section)
    positions = _from_every_class(train.labels, rows)
    samples = PreviewSamples(replace(train, batch_size=len(positions)), positions, recipe.seed)
    sheet = _Sheet(samples, data.catalog.class_names)
    observer.on_phase("preview", f"{len(single)} transforms")
    with files_as_audited(lambda: train.items):
        columns = [sheet.column(name, *samples.clearest(spec)) for name, spec in single.items()]
        if not whole.identity:
            columns += [
                sheet.column(f"whole policy, epoch {epoch}", *samples.at_epoch(whole, epoch))
                for epoch in range(1, _EPOCHS + 1)
            ]
        first = sheet.column("original", *samples.original)
    images = tuple(train.items[position].path for position in positions)
    result = Preview(
        output,
        choice.policy,
        choice.why,
        tuple(single),
        not whole.identity,
        tuple(feature_spec(section).names),
        images,
    )
    _draw(result, first, columns, recipe.seed)
    return result


def _draw(result: Preview, first: Column, columns: list[Column], seed: int) -> None:
    try:
        with new_file(result.picture) as part:
            draw_sheet(
                part,
                first,
                columns,
                title=f"Augmentation: policy {result.policy}",
                subtitle=result.subtitle(seed),
            )
    except OSError as error:
        problem = f"'{result.picture}' cannot be written: {error.strerror}"
        raise EnvironmentProblem(problem) from None


@dataclass(frozen=True)
class _Sheet:
    samples: PreviewSamples
    class_names: tuple[str, ...]

    def column(self, name: str, images: np.ndarray, labels: np.ndarray) -> Column:
        """Return a column of images with their labels as captions."""
        whole = images.clip(0, 255).round().astype(np.uint8)
        own = self.samples.train.labels[self.samples.positions]
        captions = [self._caption(label, int(one)) for label, one in zip(labels, own, strict=True)]
        return Column(name, whole, captions)

    def _caption(self, label: np.ndarray, own: int) -> str:
        """Return the class names with their weights; the image's own class comes first."""
        shares = label / label.sum()
        order = sorted(range(len(shares)), key=lambda n: (n != own, -shares[n]))
        parts = [(self.class_names[n], shares[n]) for n in order if shares[n] >= 0.005]
        if len(parts) == 1:
            return parts[0][0]
        return " + ".join(f"{share:.0%} {name}" for name, share in parts)


def _from_every_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return positions of images, alternating between classes, evenly spread over each."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    turns = -(-count // len(classes))
    spread = [
        members[np.unique(np.linspace(0, len(members) - 1, min(turns, len(members))).astype(int))]
        for members in classes
    ]
    longest = max(map(len, spread))
    taken = [one[turn] for turn in range(longest) for one in spread if turn < len(one)]
    return np.array(taken[:count], np.int64)
