"""The images that every epoch of training without cached features reads."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from tltool.features.decoded_images import DECODED, PixelType, image_bytes
from tltool.features.feature_store import space_problem
from tltool.features.image_source import ImageSource
from tltool.training.agreement import has_peers
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.training_inputs import TrainingImages

_TRAIN: PixelType = "uint8"
_VALIDATION: PixelType = "float32"  # metrics do not depend on whether images were decoded once


class EpochImages(NamedTuple):
    """Training and validation images, decoded once or in every epoch."""

    train: ImageSource
    validation: ImageSource


def epoch_images(run: RunContext, images: TrainingImages) -> EpochImages:
    """Return the images for the epochs, decoded once where ``train.cache_decoded`` says so.

    The choice depends on the disk space: it is made once, and a resumed run keeps it.

    Raises:
        EnvironmentProblem: with ``on``, no disk space for the decoded images.
    """
    files = EpochImages(images.train, images.validation)
    if run.manifest.decoded is None:
        run.record(replace(run.manifest, decoded=_choose(run, files)))
    if not run.manifest.decoded:
        return files
    run.observer.on_message(
        f"images are decoded once: {decoded_bytes(files) / 2**20:,.1f} MiB in the run folder, "
        "until the end of the run"
    )
    validation = _decoded(run, files.validation, _VALIDATION)
    return EpochImages(_decoded(run, files.train, _TRAIN), validation)


def _decoded(run: RunContext, source: ImageSource, pixels: PixelType) -> ImageSource:
    folder = run.layout.cache / f"decoded-{pixels}-{source.digest()[:16]}"
    return source.decode_once(folder, pixels, run.observer)


def decoded_bytes(images: EpochImages) -> int:
    """Return how many bytes the decoded images take on the disk, with a checksum each."""
    parts = zip(images, (_TRAIN, _VALIDATION), strict=True)
    return sum(len(part) * image_bytes(part.decode, pixels) for part, pixels in parts)


def _choose(run: RunContext, files: EpochImages) -> bool:
    if has_peers(run.machine.strategy):  # each of them decodes its own rows of every batch
        return False
    mode, folder, size = run.recipe.train.cache_decoded, run.layout.folder, decoded_bytes(files)
    if mode == "off" or (mode == "auto" and (not run.machine.gpu or _epochs(run) < 2)):
        return False
    problem = space_problem(folder, size, DECODED)
    if problem is None:
        return True
    if mode == "on":
        raise problem
    run.observer.on_message(f"images are decoded in every epoch: {problem.message}")
    return False


def _epochs(run: RunContext) -> int:
    train = run.recipe.train
    finetune = 0 if run.spec.first_trained_stage is None else train.finetune.epochs
    return train.head.epochs + finetune
