"""Training, step by step: features, probe, head, fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import keras
import numpy as np

from tltool.augment.spec import AugmentSpec
from tltool.evaluation.writers import write_history
from tltool.features.extract import Extractor, Features
from tltool.features.joined import joined
from tltool.features.sampler import Sampler
from tltool.features.views import PhotoSource
from tltool.models.heads import AS_THE_PROBE
from tltool.models.network import Network
from tltool.runs.state import StateFolder
from tltool.training.best import BestModel
from tltool.training.cached import finetune_data, head_data, pooled_from_cut
from tltool.training.live import live_data
from tltool.training.loop import Trainer
from tltool.training.measure import HeadLogits, Pooling, loss_and_accuracy
from tltool.training.optimizers import Group
from tltool.training.outliers import MOST_PHOTOS
from tltool.training.plan import Changes, PhaseData, PhasePlan, PhaseState, Row
from tltool.training.precision import FLOAT32, Precision
from tltool.training.probe import Probe
from tltool.workflows.augmentation import feature_spec
from tltool.workflows.balance import Balance
from tltool.workflows.learned import Learned
from tltool.workflows.passes import Passes
from tltool.workflows.phases import told_of
from tltool.workflows.probing import (
    solve_probe,
    tell_probe,
    tell_worse_than_probe,
    vectors,
)
from tltool.workflows.progress import Progress
from tltool.workflows.session import Session
from tltool.workflows.unpack import phase_plan

_VIEWS_AT_MOST = 64  # as the recipe has it


@dataclass
class Learning:
    """A network that learns, and what is known of its photos.

    Attributes:
        session: the run.
        network: what learns.
        train: training photos.
        blocks: the same in the pieces of which features are kept, by number: its folds, or one.
        held: validation photos.
        class_names: names of the classes.
        augment: changes of training photos.
        stage: first stage of the fine-tune phase, or None without one.
        cached: whether phases run on cached features.
        caches: folder of the features; runs that compute the same may share it.
        probe_logits: of the probe for the validation photos, float32 [V, C]; None without one.
        pretrained: input of the head for training and validation photos, before all training,
            float32 [N, D] or [N, h, w, D]; None where nothing needed it.
    """

    session: Session
    network: Network
    train: PhotoSource
    blocks: Mapping[int, PhotoSource]
    held: PhotoSource
    class_names: Sequence[str]
    augment: AugmentSpec
    stage: str | None
    cached: bool
    caches: Path
    best: BestModel = field(init=False)
    progress: Progress = field(init=False)
    probe_logits: np.ndarray | None = field(init=False, default=None)
    pretrained: tuple[np.ndarray, np.ndarray] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        session, network = self.session, self.network
        computes = (network.head, str(self.stage), network.digest(head=False))
        self.passes = Passes(session, self.augment, computes, self.caches)
        head = network.head_variables()
        tail = [v for part in network.trained_from(self.stage) for v in part] if self.stage else []
        known = {id(variable) for variable in head}
        self._early = [*head, *network.moving_statistics()]
        self._all = [*self._early, *(v for v in tail if id(v) not in known)]
        self.best = BestModel(self._all, session.recipe.train.early_stopping.monitor)
        self.progress = Progress(
            StateFolder(session.run.state),
            self.best,
            early=len(self._early),
            seconds=session.seconds,
        )
        self.balance = Balance(session, self.train, self.class_names)
        self.head = HeadLogits(self.network.pooled_to_logits)
        self.images_to_pooled = Pooling(
            self.network.images_to_pooled, self.session.machine.precision
        )

    def run(self) -> Learned:
        """Train all phases, restore the best model and return what it makes of the photos."""
        learned = self._run_cached() if self.cached else self._run_live()
        if self.probe_logits is not None and self.network.head not in AS_THE_PROBE:
            tell_worse_than_probe(
                self.session,
                self.network.head,
                learned.held_logits,
                self.probe_logits,
                self.held.labels,
            )
        return learned

    @property
    def history(self) -> list[Row]:
        """Rows of all phases."""
        return self.progress.history

    @property
    def probe(self) -> Probe | None:
        """The solved probe, if there is one."""
        return self.progress.probe

    @property
    def best_row(self) -> int | None:
        """The row of ``history`` whose model is kept."""
        wanted = (self.best.phase, self.best.epoch)
        keys = [(row["phase"], row["epoch"]) for row in self.history]
        return keys.index(wanted) if wanted in keys else None

    def _run_cached(self) -> Learned:
        session = self.session
        cut = self.network.cut(self.stage) if self.stage else None
        extractor = Extractor(self.network.images, self.network.pooled, cut)
        with session.phase("features", f"{len(self.held)} validation photos"):
            held = self.passes.plain(extractor, self.held)
        with session.phase("features", f"{len(self.train)} training photos, as they are"):
            views = [joined([self.passes.plain(extractor, one) for one in self.blocks.values()])]
        self._phase_probe(views[0], held)
        for number in range(1, self._views_needed()):
            with session.phase(
                "features", f"augmented view {number} of {self._views_needed() - 1}"
            ):
                views.append(joined(self._augmented(extractor, number)))
        self.balance.settle(views)
        changes = self._changes("head")
        self._phase_head(
            partial(head_data, views, held, self.held.labels, head=self.head, changes=changes)
        )
        if cut is None:
            self.best.restore()
            return self._learned(held.pooled, lambda: (views[0].pooled, self.train.labels))
        to_pooled = Pooling(keras.Model(cut, self.network.pooled), session.machine.precision)
        tail = keras.Model(cut, self.network.model.output)
        data = partial(
            finetune_data,
            views,
            held,
            self.held.labels,
            to_pooled=to_pooled,
            head=self.head,
            changes=self._changes("finetune"),
        )
        self._phase_finetune(tail, data)
        self.best.restore()
        size = self.train.batch_size
        return self._learned(
            pooled_from_cut(held, to_pooled, size),
            lambda: (pooled_from_cut(views[0], to_pooled, size), self.train.labels),
        )

    def _learned(
        self, held: np.ndarray, train: Callable[[], tuple[np.ndarray, np.ndarray]]
    ) -> Learned:
        return Learned(held, self.head(held), train)

    def _augmented(self, extractor: Extractor, view: int) -> list[Features]:
        """Return augmented view number ``view`` of each block; no two blocks share their draws."""
        return [
            self.passes.augmented(extractor, one, view=view + number * _VIEWS_AT_MOST)
            for number, one in self.blocks.items()
        ]

    def _run_live(self) -> Learned:
        if self.session.recipe.train.probe.enabled:
            extractor = Extractor(self.network.images, self.network.pooled, None)
            with self.session.phase("features", "for the probe"):
                held = self.passes.plain(extractor, self.held)
                plain = self.passes.plain(extractor, self.train)
            self._phase_probe(plain, held)
        else:
            self.network.standardize(lambda: self._pooled_live(self.train.spread(MOST_PHOTOS)))
        self.balance.settle()
        self._phase_head(partial(self._live_data, "head"), live=True)
        if self.stage:
            self._phase_finetune(self.network.model, partial(self._live_data, "finetune"))
        self.best.restore()
        some = self.train.spread(MOST_PHOTOS)  # this pass costs as much as validation does
        return self._learned(
            self._pooled_live(self.held), lambda: (self._pooled_live(some), some.labels)
        )

    def _pooled_live(self, source: PhotoSource) -> np.ndarray:
        return np.concatenate([self.images_to_pooled(images) for _, images, _ in source.plain()])

    def _changes(self, phase: str) -> Changes:
        recipe = self.session.recipe
        phases = {"head": recipe.train.head.epochs, "finetune": recipe.train.finetune.epochs}
        last = phase == "finetune" or self.stage is None
        off = recipe.augment.mix_off_epochs if last else 0
        return Changes(self.augment, feature_spec(recipe.augment), phases[phase] - off)

    def _live_data(self, phase: str, *, batch_size: int, sampler: Sampler) -> PhaseData:
        return live_data(
            self.train,
            self.held,
            changes=self._changes(phase),
            to_pooled=self.images_to_pooled,
            head=self.head,
            sampler=sampler,
            first_epoch=sum(row["phase"] != phase for row in self.history),
        )

    def _views_needed(self) -> int:
        train = self.session.recipe.train
        learning = train.head.epochs or train.finetune.epochs
        return train.cache.views if learning and not self.augment.identity else 1

    def _phase_probe(self, plain: Features, held: Features) -> None:
        self.pretrained = (plain.pooled, held.pooled)
        self.network.standardize(lambda: plain.pooled)
        with self.session.phase("probe"):
            if self.progress.reached("probe"):
                self.best.restore()
            else:
                self._probe(plain, held)
                self._keep("probe", PhaseState(0, True, {}, {}))
            if self.probe is not None:
                self.probe_logits = self.probe.logits(vectors(held.pooled))

    def _probe(self, plain: Features, held: Features) -> None:
        """Fit the probe, check it against chance, and give its solution to the head."""
        start = "start"
        if self.session.recipe.train.probe.enabled:
            probe = self.progress.probe = solve_probe(
                self.session, self.passes, self.balance, self.train, vectors(plain.pooled)
            )
            reached = tell_probe(self.session, probe, vectors(held.pooled), self.held)
            self.history.append({"phase": "probe", "epoch": 0, **reached})
            if self.network.head in AS_THE_PROBE:
                self.network.begin_as(probe.kernel, probe.bias)
                start = "probe"
        measures = loss_and_accuracy(self.head(held.pooled), self.held.labels)
        self.best.offer(measures, phase=start, epoch=0)

    def _phase_head(self, data: Callable[..., PhaseData], *, live: bool = False) -> None:
        settings = self.session.recipe.train.head
        if not settings.epochs:
            return
        plan = self._plan("head", settings.epochs, settings.learning_rate)
        network = self.network.model if live else self.network.pooled_to_logits
        groups = [Group(self.network.head_variables())]
        # alone, the head is so cheap that float32 costs nothing and keeps its digits
        precision = self.session.machine.precision if live else FLOAT32
        self._train(network, groups, plan, data, precision=precision, changing=self._early)

    def _phase_finetune(self, network: keras.Model, data: Callable[..., PhaseData]) -> None:
        settings = self.session.recipe.train.finetune
        assert self.stage is not None
        plan = self._plan("finetune", settings.epochs, settings.learning_rate)
        parts = self.network.trained_from(self.stage)
        stages = self.session.backbone.stages[::-1]
        groups = [
            Group(part, settings.stage_decay**depth, stage.name)
            for depth, (part, stage) in enumerate(zip(parts, stages, strict=False))
        ]
        if settings.stage_decay == 1.0 and not settings.thaw_epochs:
            groups = [Group([variable for part in parts for variable in part])]
        if self.best.phase:
            self.best.restore()
        self._train(
            network,
            [group for group in groups if group.variables],
            plan,
            data,
            precision=self.session.machine.precision,
            changing=self._all,
        )

    def _train(
        self,
        network: keras.Model,
        groups: list[Group],
        plan: PhasePlan,
        data: Callable[..., PhaseData],
        *,
        precision: Precision,
        changing: Sequence[keras.Variable],
    ) -> None:
        session, progress = self.session, self.progress
        if progress.reached(plan.name):
            return
        with session.phase(plan.name, told_of(plan, groups)):
            strategy = session.machine.strategy
            trainer = Trainer(network, groups, plan, strategy, precision, self.history, changing)
            trainer.run(
                data(batch_size=self.train.batch_size, sampler=self.balance.sampler),
                best=self.best,
                observer=session.observer,
                before=progress.within(plan.name),
                keep=partial(self._keep, plan.name),
            )

    def _keep(self, phase: str, state: PhaseState) -> None:
        self.progress.keep(phase, state)
        write_history(self.session.run.history, self.history)

    def _plan(self, name: str, epochs: int, learning_rate: float) -> PhasePlan:
        return phase_plan(
            self.session.recipe,
            name,
            epochs=epochs,
            learning_rate=learning_rate,
            steps=-(-len(self.train) // self.train.batch_size),
            class_weights=self.balance.class_weights,
        )
