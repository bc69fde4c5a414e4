"""Training on the images themselves: new augmentation in every epoch, the usual way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tltool.features.extract import Features
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.training.live_phase import live_data
from tltool.training.ood import MAX_IMAGES
from tltool.training.outcome import PretrainedFeatures
from tltool.training.phase_plan import PhaseData
from tltool.training.validation import Pooling
from tltool.workflows.training_run.epoch_images import EpochImages, epoch_images
from tltool.workflows.training_run.training_inputs import PhaseInput, TrainingInputs


@dataclass(frozen=True)
class LiveFeatures(TrainingInputs):
    """Images that every epoch reads, augments and passes through the whole network.

    Attributes:
        to_pooled: images to the input of the head.
        pretrained: input of the head before all training; None without a probe.
    """

    to_pooled: Pooling
    pretrained: PretrainedFeatures | None

    @cached_property
    def epoch_images(self) -> EpochImages:
        """The images that every epoch reads: decoded once, when the first epoch begins, or not."""
        return epoch_images(self.run, self.images)

    @property
    def views(self) -> Sequence[Features]:
        """No views: nothing is cached."""
        return ()

    def head_inputs(self) -> np.ndarray:
        """Return the input of the head for training images, before all training."""
        if self.pretrained is not None:
            return self.pretrained.train
        return self._pooled(self.images.train.spread(MAX_IMAGES))

    def with_views(self) -> LiveFeatures:
        """Return the same: every epoch makes its own augmentation."""
        return self

    def with_validation(self) -> LiveFeatures:
        """Return the same with the validation images among the training images."""
        pretrained = self.pretrained
        if pretrained is not None:
            both = np.concatenate([pretrained.train, pretrained.validation])
            pretrained = replace(pretrained, train=both)
        return replace(self, images=self.images.with_validation(), pretrained=pretrained)

    def head_phase(self, sampler: Sampler) -> PhaseInput:
        """Return what the head phase trains: the whole network, of which the head learns."""
        return self._phase("head", sampler)

    def finetune_phase(self, sampler: Sampler) -> PhaseInput:
        """Return what the fine-tune phase trains: the whole network."""
        return self._phase("finetune", sampler)

    def validation_pooled(self) -> np.ndarray:
        """Return the input of the head for the validation images, by the current network."""
        return self._pooled(self.epoch_images.validation)

    def train_pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the same for many training images, with their class numbers."""
        some = self.images.train.spread(MAX_IMAGES)  # as long a pass as validation
        return self._pooled(some), some.labels

    def _phase(self, name: str, sampler: Sampler) -> PhaseInput:
        def data(epochs_before: int) -> PhaseData:
            return live_data(
                self.epoch_images.train,
                self.epoch_images.validation,
                augmentation=self.schedule(name),
                to_pooled=self.to_pooled,
                head=self.head,
                measure=self.measure,
                sampler=sampler,
                first_epoch=epochs_before,
                strategy=self.run.machine.strategy,
            )

        model = self.network.model
        return PhaseInput(model, model, self.run.machine.precision, data)

    def _pooled(self, source: ImageSource) -> np.ndarray:
        return np.concatenate([self.to_pooled(images) for _, images, _ in source.original()])
