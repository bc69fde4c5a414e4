"""Training on cached features: the frozen part runs once per view, not once per epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import keras
import numpy as np

from tltool.features.extract import Extractor, Features
from tltool.features.image_source import ImageSource
from tltool.features.joined_features import joined
from tltool.features.sampler import Sampler
from tltool.training.cached_phase import finetune_data, head_data, pooled_from_cut
from tltool.training.outcome import PretrainedFeatures
from tltool.training.phase_plan import PhaseData
from tltool.training.precision import FLOAT32
from tltool.training.validation import Pooling
from tltool.workflows.training_run.time_limit import views_in_time
from tltool.workflows.training_run.training_inputs import PhaseInput, TrainingInputs

_MOST_VIEWS = 64  # as the recipe has it


@dataclass(frozen=True)
class CachedFeatures(TrainingInputs):
    """Features that are computed once per view; epochs read them from the cache.

    Attributes:
        extractor: computes them.
        original: of the training images without augmentation.
        validation: of the validation images.
        views: of the training images: original, then augmented.
    """

    extractor: Extractor
    original: Features
    validation: Features
    views: Sequence[Features] = ()

    @property
    def pretrained(self) -> PretrainedFeatures:
        """Input of the head before all training."""
        return PretrainedFeatures(self.original.pooled, self.validation.pooled)

    def head_inputs(self) -> np.ndarray:
        """Return the input of the head for training images, before all training."""
        return self.original.pooled

    def with_views(self) -> CachedFeatures:
        """Return the same with all augmented views of the training images."""
        train = self.run.recipe.train
        epochs = train.head.epochs or train.finetune.epochs
        needed = train.cache.views if epochs and not self.augment.identity else 1
        views = [self.original]
        all_images = len(self.images.train) + len(self.images.validation)
        seconds = self.run.seconds.get("features", 0.0) * len(self.images.train) / all_images
        for number in range(1, needed):
            if not views_in_time(self.run, number, needed, seconds=seconds):
                break
            started = time.perf_counter()
            with self.run.phase("features", f"augmented view {number} of {needed - 1}"):
                views.append(joined(self._augmented(number)))
            seconds = time.perf_counter() - started
        return replace(self, views=views)

    def with_validation(self) -> CachedFeatures:
        """Return the same with the validation images among the training images, in all views."""
        images = self.images.with_validation()
        number = max(images.folds)  # of the validation images
        views = [joined([self.original, self.validation])]
        for view in range(1, len(self.views)):
            with self.run.phase("features", f"augmented view {view} of the validation images"):
                validation = self._augmented_fold(images.validation, view, number)
            views.append(joined([self.views[view], validation]))
        return replace(self, images=images, original=views[0], views=views)

    def head_phase(self, sampler: Sampler) -> PhaseInput:
        """Return what the head phase trains: the head alone, on pooled features."""

        def data(_: int) -> PhaseData:
            return head_data(
                self.views,
                self.validation,
                self.images.validation.labels,
                head=self.head,
                measure=self.measure,
                batch_size=self.images.train.batch_size,
                sampler=sampler,
                augmentation=self.schedule("head"),
            )

        # alone, the head is so cheap that float32 costs nothing and keeps its digits
        return PhaseInput(self.network.pooled_to_logits, self.network.model, FLOAT32, data)

    def finetune_phase(self, sampler: Sampler) -> PhaseInput:
        """Return what the fine-tune phase trains: all above the cut, on activations there."""

        def data(_: int) -> PhaseData:
            return finetune_data(
                self.views,
                self.validation,
                self.images.validation.labels,
                to_pooled=self._cut_to_pooled,
                head=self.head,
                measure=self.measure,
                batch_size=self.images.train.batch_size,
                sampler=sampler,
                augmentation=self.schedule("finetune"),
            )

        model = self.network.model
        network = keras.Model(self._cut(), model.output)
        return PhaseInput(network, model, self.run.machine.precision, data)

    def validation_pooled(self) -> np.ndarray:
        """Return the input of the head for the validation images, by the current network."""
        return self._pooled(self.validation)

    def train_pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the same for the training images, with their class numbers."""
        return self._pooled(self.original), self.images.train.labels

    def _pooled(self, features: Features) -> np.ndarray:
        if self.run.spec.first_trained_stage is None:
            return features.pooled
        return pooled_from_cut(features, self._cut_to_pooled, self.images.train.batch_size)

    def _cut(self) -> keras.KerasTensor:
        stage = self.run.spec.first_trained_stage
        assert stage is not None
        return self.network.cut(stage)

    @cached_property
    def _cut_to_pooled(self) -> Pooling:
        part = keras.Model(self._cut(), self.network.pooled)
        return Pooling(part, self.run.machine.precision)

    def _augmented(self, view: int) -> list[Features]:
        """Return augmented view number ``view`` of each fold; no two folds share their draws."""
        return [
            self._augmented_fold(fold, view, number) for number, fold in self.images.folds.items()
        ]

    def _augmented_fold(self, fold: ImageSource, view: int, number: int) -> Features:
        return self.cache.augmented(self.extractor, fold, view=view + number * _MOST_VIEWS)
