"""OOD scores of in-distribution images, each of a detector that was not fitted on the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.calibration.group_folds import group_folds
from tltool.training.ood import OutlierDetector, fit_detector
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.linear_probe import vectors

_ENOUGH = 1000  # validation images; with more, the threshold varies little
_MAX_FEATURES = 1024  # a detector of more takes seconds, and each fold has its own
_SAME = 1e-3  # relative difference of features that only rounding explains


class InDistributionScores(NamedTuple):
    """OOD scores on which the threshold is set.

    Attributes:
        scores: of validation images, and of training images where they can be scored, float32 [n].
        groups: their groups, int64 [n].
        images: which images these are, in words.
    """

    scores: NDArray[np.float32]
    groups: NDArray[np.int64]
    images: str


def in_distribution_scores(
    dataset: Dataset, outcome: TrainingOutcome, detector: OutlierDetector
) -> InDistributionScores:
    """Return the OOD scores of the validation images, and out-of-fold those of training images.

    Training images are scored too where their features come from a frozen backbone, which no image
    has changed, and the split was drawn at random: cross-conformal prediction (Vovk 2015,
    "Cross-conformal predictors"; Barber et al. 2021, the CV+ of "Predictive inference with the
    jackknife+"). The validation images, which ``detector`` was not fitted on, are one fold; the
    training images are divided into folds of about the same size, and each fold is scored by a
    detector that is fitted on all other images, hence on about as many as ``detector``.
    """
    validation = detector.scores(outcome.validation_pooled)
    groups = dataset.groups("validation")
    alone = InDistributionScores(validation, groups, "validation images")
    if not _can_score_training_images(dataset, outcome):
        return alone
    assert outcome.pretrained is not None
    train = vectors(outcome.pretrained.train)
    pooled = np.concatenate([train, vectors(outcome.pretrained.validation)])
    labels = np.concatenate([dataset.part(name).labels() for name in ("train", "validation")])
    train_groups = dataset.groups("train")
    count = max(1, min(9, round(len(train) / len(validation))))
    folds = np.append(group_folds(train_groups, count), np.full(len(validation), -1))
    scores = np.append(np.zeros(len(train), np.float32), validation)
    for fold in range(folds.max() + 1):
        own = fit_detector(pooled[folds != fold], labels[folds != fold])
        if own is None:
            return alone
        scores[folds == fold] = own.scores(pooled[folds == fold])
    return InDistributionScores(
        scores,
        np.append(train_groups, groups),
        "training and validation images, scored out of fold",
    )


def _can_score_training_images(dataset: Dataset, outcome: TrainingOutcome) -> bool:
    pretrained, reached = outcome.pretrained, outcome.validation_pooled
    if pretrained is None or pretrained.validation.shape != reached.shape:
        return False
    given = any(
        item.given_split for name in ("train", "validation") for item in dataset.part(name).items
    )
    difference = np.linalg.norm(pretrained.validation - reached)
    frozen = difference <= _SAME * np.linalg.norm(reached)
    return bool(
        frozen and not given and len(reached) < _ENOUGH and reached.shape[-1] <= _MAX_FEATURES
    )
