"""Training, step by step: features, probe, head, fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np

from tltool.augment.spec import AugmentSpec
from tltool.errors import UsageError
from tltool.features.extract import Extractor, Features
from tltool.features.store import ActivationStore
from tltool.features.views import PhotoSource
from tltool.models.network import Network
from tltool.training.best import BestModel
from tltool.training.cached import finetune_data, head_data, pooled_from_cut
from tltool.training.choose_cache import Workload, estimate, seconds_per_photo
from tltool.training.live import live_data
from tltool.training.loop import PhaseData, PhasePlan, Row, Trainer
from tltool.training.loss import balanced_weights
from tltool.training.measure import HeadLogits, Pooling, loss_and_accuracy
from tltool.training.optimizers import Group
from tltool.training.precision import FLOAT32, Precision
from tltool.training.probe import Probe, fit_probe
from tltool.training.schedules import Schedule
from tltool.workflows.session import Session


@dataclass
class Learning:
    """A network that learns, and what is known of its photos.

    Attributes:
        session: the run.
        network: what learns.
        train: training photos.
        held: validation photos.
        augment: changes of training photos.
        stage: first stage of the fine-tune phase, or None without one.
        cached: whether phases run on cached features.
    """

    session: Session
    network: Network
    train: PhotoSource
    held: PhotoSource
    augment: AugmentSpec
    stage: str | None
    cached: bool
    best: BestModel = field(init=False)
    history: list[Row] = field(default_factory=list)
    probe: Probe | None = None

    def __post_init__(self) -> None:
        recipe = self.session.recipe
        self.best = BestModel(self.network.model, recipe.train.early_stopping.monitor)
        self.store = ActivationStore(
            self.session.run.cache, ram_fraction=recipe.train.cache.ram_fraction
        )
        self.head = HeadLogits(self.network.pooled_to_logits)
        self.images_to_pooled = Pooling(
            self.network.images_to_pooled, self.session.machine.precision
        )

    def run(self) -> np.ndarray:
        """Train all phases and return the best model's validation logits, float32 [V, C]."""
        logits = self._run_cached() if self.cached else self._run_live()
        self.store.clear()
        return logits

    def _run_cached(self) -> np.ndarray:
        recipe, session = self.session.recipe, self.session
        cut = self.network.cut(self.stage) if self.stage else None
        extractor = Extractor(self.network.images, self.network.pooled, cut)
        with session.phase("features", f"{len(self.held)} validation photos"):
            held = self._extract(extractor, self.held.plain(), self.held)
        with session.phase("features", f"{len(self.train)} training photos, as they are"):
            views = [self._extract(extractor, self.train.plain(), self.train)]
        with session.phase("probe"):
            self._probe(views[0], held)
        for number in range(1, self._views_needed()):
            with session.phase(
                "features", f"augmented view {number} of {self._views_needed() - 1}"
            ):
                photos = self.train.augmented(self.augment, seed=recipe.seed, epoch=number)
                views.append(self._extract(extractor, photos, self.train))
        self._phase_head(partial(head_data, views, held, self.held.labels, head=self.head))
        if cut is None:
            self.best.restore()
            return self.head(held.pooled)
        to_pooled = Pooling(keras.Model(cut, self.network.pooled), session.machine.precision)
        tail = keras.Model(cut, self.network.model.output)
        data = partial(
            finetune_data, views, held, self.held.labels, to_pooled=to_pooled, head=self.head
        )
        self._phase_finetune(tail, data)
        self.best.restore()
        return self.head(pooled_from_cut(held, to_pooled, self.train.batch_size))

    def _run_live(self) -> np.ndarray:
        if self.session.recipe.train.probe.enabled:
            extractor = Extractor(self.network.images, self.network.pooled, None)
            with self.session.phase("features", "for the probe"):
                held = self._extract(extractor, self.held.plain(), self.held)
                plain = self._extract(extractor, self.train.plain(), self.train)
            with self.session.phase("probe"):
                self._probe(plain, held)
        data = partial(
            self._live_data,
            self.train,
            self.held,
            augment=self.augment,
            to_pooled=self.images_to_pooled,
            head=self.head,
        )
        self._phase_head(data, live=True)
        if self.stage:
            self._phase_finetune(self.network.model, data)
        self.best.restore()
        logits = [self.head(self.images_to_pooled(images)) for _, images, _ in self.held.plain()]
        return np.concatenate(logits)

    def _live_data(self, *args: Any, batch_size: int, seed: int, **kwargs: Any) -> PhaseData:
        epochs_before = len(self.history)
        return live_data(*args, seed=seed, first_epoch=epochs_before, **kwargs)

    def _views_needed(self) -> int:
        train = self.session.recipe.train
        learning = train.head.epochs or train.finetune.epochs
        return train.cache.views if learning and not self.augment.identity else 1

    def _extract(self, extractor: Extractor, photos: Any, source: PhotoSource) -> Features:
        with self.session.machine.precision.active():
            return extractor.run(
                photos,
                count=len(source),
                classes=source.classes,
                store=self.store,
                observer=self.session.observer,
            )

    def _probe(self, plain: Features, held: Features) -> None:
        """Fit the probe, check it against chance, and give its solution to the head."""
        settings = self.session.recipe.train.probe
        if settings.enabled:
            labels = self.train.labels[plain.index]
            self.probe = fit_probe(
                _vectors(plain.pooled),
                labels,
                classes=self.train.classes,
                strengths=settings.strengths,
                folds=settings.folds,
                balanced=self.session.recipe.train.class_weights == "balanced",
                seed=self.session.recipe.seed,
            )
            measures = loss_and_accuracy(self.probe.logits(_vectors(held.pooled)), self.held.labels)
            self._tell_probe(measures)
            if self.network.head != "mlp":
                set_linear_head(self.network, self.probe)
        self.offer(loss_and_accuracy(self.head(held.pooled), self.held.labels), "probe", 0)

    def _tell_probe(self, measures: dict[str, float]) -> None:
        self.session.observer.on_epoch(0, 0, measures)
        majority = np.bincount(self.held.labels, minlength=self.held.classes).max()
        if measures["val_accuracy"] <= majority / len(self.held):
            self.session.observer.on_message(
                "a linear probe on the pretrained features does no better than always naming the "
                "most frequent class: check the labels, the photos and the weights",
                level="warning",
            )

    def offer(self, measures: dict[str, float], phase: str, epoch: int) -> None:
        """Offer the present weights as the best and note them in the history."""
        self.best.offer(measures, phase=phase, epoch=epoch)
        self.history.append({"phase": phase, "epoch": epoch, **measures})

    def _phase_head(self, data: Callable[..., PhaseData], *, live: bool = False) -> None:
        settings = self.session.recipe.train.head
        if not settings.epochs:
            return
        plan = self._plan("head", settings.epochs, settings.learning_rate)
        network = self.network.model if live else self.network.pooled_to_logits
        groups = [Group(self.network.head_variables())]
        # alone, the head is so cheap that float32 costs nothing and keeps its digits
        precision = self.session.machine.precision if live else FLOAT32
        self._train(network, groups, plan, data, precision=precision)

    def _phase_finetune(self, network: keras.Model, data: Callable[..., PhaseData]) -> None:
        settings = self.session.recipe.train.finetune
        assert self.stage is not None
        plan = self._plan("finetune", settings.epochs, settings.learning_rate)
        parts = self.network.trained_from(self.stage)
        groups = [Group(part, settings.stage_decay**depth) for depth, part in enumerate(parts)]
        if settings.stage_decay == 1.0:
            groups = [Group([variable for part in parts for variable in part])]
        if self.best.phase:
            self.best.restore()
        self._train(
            network,
            [group for group in groups if group.variables],
            plan,
            data,
            precision=self.session.machine.precision,
        )

    def _train(
        self,
        network: keras.Model,
        groups: list[Group],
        plan: PhasePlan,
        data: Callable[..., PhaseData],
        *,
        precision: Precision,
    ) -> None:
        session = self.session
        with session.phase(plan.name, _told_of(plan, groups)):
            trainer = Trainer(
                network, groups, plan, session.machine.strategy, precision, self.history
            )
            photos = data(batch_size=self.train.batch_size, seed=session.recipe.seed)
            trainer.run(photos, best=self.best, observer=session.observer)

    def _plan(self, name: str, epochs: int, learning_rate: float) -> PhasePlan:
        train = self.session.recipe.train
        steps = -(-len(self.train) // self.train.batch_size)
        weights = np.ones(self.train.classes, np.float32)
        if train.class_weights == "balanced":
            weights = balanced_weights(self.train.labels, self.train.classes)
        return PhasePlan(
            name=name,
            epochs=epochs,
            steps=steps,
            schedule=Schedule(
                kind=train.schedule,
                peak=learning_rate,
                steps=steps * epochs,
                warmup=round(steps * train.warmup_epochs),
                patience=train.plateau_patience,
            ),
            optimizer=train.optimizer,
            weight_decay=train.weight_decay,
            smoothing=train.label_smoothing,
            class_weights=weights,
            ema=train.ema,
            patience=train.early_stopping.patience,
            min_delta=train.early_stopping.min_delta,
            seed=self.session.recipe.seed,
        )


def _vectors(pooled: np.ndarray) -> np.ndarray:
    """Return the head's input as vectors [N, D]; feature maps are averaged."""
    return pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled


def set_linear_head(network: Network, probe: Probe) -> None:
    """Give the probe's solution to a head that is linear in the pooled features."""
    kernel, bias = network.head_variables()
    kernel.assign(probe.kernel.reshape(kernel.shape))
    bias.assign(probe.bias)


def choose_cache(
    session: Session, network: Network, *, stage: str | None, train: int, held: int
) -> bool:
    """Return whether to train on cached activations, and tell the user why."""
    mode = session.recipe.train.cache.mode
    if stage == session.backbone.stages[0].name:
        if mode == "on":
            raise UsageError(
                "train.cache is on, but train.finetune.unfreeze leaves no frozen part to cache",
                hint="--set train.cache=off, or unfreeze a later stage",
            )
        return False
    if mode != "auto":
        return mode == "on"
    if stage is None:
        return True
    cut, precision = network.cut(stage), session.machine.precision
    batch = 32 if session.machine.gpu else 4
    recipe = session.recipe.train
    choice = estimate(
        Workload(train, held, recipe.cache.views, recipe.head.epochs, recipe.finetune.epochs),
        trunk_seconds=seconds_per_photo(
            keras.Model(network.images, cut), batch=batch, precision=precision
        ),
        tail_seconds=seconds_per_photo(
            keras.Model(cut, network.pooled), batch=batch, precision=precision
        ),
        gpu=session.machine.gpu,
    )
    told = "caching activations" if choice.cached else "training on the photos directly"
    session.observer.on_message(f"{told} ({choice.reason})")
    return choice.cached


def _told_of(plan: PhasePlan, groups: list[Group]) -> str:
    count = sum(int(np.prod(v.shape)) for group in groups for v in group.variables)
    return f"{count:,} parameters, up to {plan.epochs} epochs"
