"""The images of training, and what each phase trains and reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray

from tltool.augment.spec import AugmentSpec
from tltool.features.image_source import ImageSource
from tltool.inference import softmax
from tltool.models.network_parts import Network
from tltool.training.phase_plan import AugmentationSchedule, PhaseData
from tltool.training.precision import Precision
from tltool.training.validation import HeadLogits, loss_and_accuracy
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.feature_cache import FeatureCache
from tltool.workflows.training_run.pretrained_backbone import PretrainedBackbone


@dataclass(frozen=True)
class TrainingImages:
    """The images that training sees.

    Attributes:
        train: training images.
        train_groups: the group of each, int64 [N].
        folds: the same by fold, in the pieces of which features are cached; or one piece.
        validation: validation images.
        validation_groups: the group of each, int64 [V].
        class_names: names of the classes.
    """

    train: ImageSource
    train_groups: NDArray[np.int64]
    folds: Mapping[int, ImageSource]
    validation: ImageSource
    validation_groups: NDArray[np.int64]
    class_names: Sequence[str]

    def with_validation(self) -> TrainingImages:
        """Return the same with the validation images among the training images, at the end."""
        number = max(self.folds) + 1  # of the validation images, among the folds
        return replace(
            self,
            train=self.train.followed_by(self.validation),
            train_groups=np.append(self.train_groups, self.validation_groups),
            folds={**self.folds, number: self.validation},
        )


@dataclass(frozen=True)
class PhaseInput:
    """What a phase trains and what it reads.

    Attributes:
        network: from what is read to logits.
        model: the whole classifier, of which ``network`` is a part.
        precision: arithmetic.
        data: returns the data of the phase, after so many epochs of other phases.
    """

    network: keras.Model
    model: keras.Model
    precision: Precision
    data: Callable[[int], PhaseData]


@dataclass(frozen=True)
class TrainingInputs:
    """What training on cached features and on images share.

    Attributes:
        run: the run.
        network: the classifier.
        images: the images.
        augment: changes of training images.
        cache: where features are kept.
        head: the head alone, from pooled features to logits.
        backbones: the current and the original backbone, where test images need both.
    """

    run: RunContext
    network: Network
    images: TrainingImages
    augment: AugmentSpec
    cache: FeatureCache
    head: HeadLogits
    backbones: PretrainedBackbone | None

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return the validation metrics of logits [N, C] for class numbers [N]."""
        metrics = self.run.objects.keras_metrics
        more = metrics.of_epoch(labels, softmax(logits)) if metrics else {}
        return {**more, **loss_and_accuracy(logits, labels)}

    def schedule(self, phase: str) -> AugmentationSchedule:
        """Return what a phase changes at random, and for how many epochs it blends images."""
        recipe, spec = self.run.recipe, self.run.spec
        epochs = {"head": recipe.train.head.epochs, "finetune": recipe.train.finetune.epochs}
        last = phase == "finetune" or spec.first_trained_stage is None
        off = recipe.augment.mix_off_epochs if last else 0
        return AugmentationSchedule(self.augment, spec.feature_changes, epochs[phase] - off)
