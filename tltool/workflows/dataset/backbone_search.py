"""Evaluates backbones on labelled images, the fastest first, until a budget of time is spent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tltool.data.audit.changed_files import files_as_audited
from tltool.errors import EnvironmentProblem, TltoolError, UsageError
from tltool.runs.duration import format_duration
from tltool.weights import weights_store
from tltool.workflows.dataset.backbone_probes import BackboneProbes, LeaderboardEntry
from tltool.workflows.dataset.embeddings import ForwardTime, forward_time
from tltool.workflows.resolve.run_spec import RunSpec

_OVERHEAD = 5.0  # seconds of a backbone beside its forward passes, before one was measured
_TO_MEASURE = 0.25  # share of the budget in which forward passes are timed


@dataclass
class BackboneSearch:
    """The search: what was evaluated, and why the others were not.

    Attributes:
        probes: evaluates one backbone.
        budget: wall seconds from now on.
        skipped: by name, why a backbone was not evaluated.
        entries: of those that were, in the order of their evaluation.
        overhead: expected seconds of a backbone beside its forward passes.
        reachable: whether no download of weights has failed.
    """

    probes: BackboneProbes
    budget: float
    skipped: dict[str, str]
    entries: list[LeaderboardEntry] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    overhead: float = _OVERHEAD
    reachable: bool = True

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - (time.perf_counter() - self.started)

    def by_time(self, specs: Sequence[RunSpec]) -> list[tuple[ForwardTime, RunSpec]]:
        """Return (time per image, spec) by ascending time; the smallest networks are timed."""
        observer, timed = self.probes.observer, list[tuple[ForwardTime, RunSpec]]()
        for number, spec in enumerate(specs):
            if timed and self.left < (1 - _TO_MEASURE) * self.budget:
                for rest in specs[number:]:
                    self.skipped[rest.backbone.name] = "there was no time to measure its speed"
                break
            observer.on_phase("backbone", f"speed of {spec.backbone.name}")
            side = self.probes.side(spec.backbone)
            timed.append((forward_time(spec.backbone, side, observer=observer), spec))
        return sorted(timed, key=lambda one: one[0].seconds)

    def evaluate(self, timed: Sequence[tuple[ForwardTime, RunSpec]]) -> None:
        """Evaluate one backbone after the other.

        Raises:
            UsageError: the budget is too short for the first.
            EnvironmentProblem: no backbone could be evaluated.
        """
        n, problems = len(self.probes.catalog), list[TltoolError]()
        for forward, spec in timed:
            name, needed = spec.backbone.name, n * forward.wall + self.overhead
            stop = self._reason_to_stop(name, needed)
            if stop:
                self.skipped[name] = stop
                continue
            began = time.perf_counter()
            try:
                self._probe(spec)
            except (EnvironmentProblem, UsageError) as problem:
                self.skipped[name] = problem.message
                problems.append(problem)
                self.probes.observer.on_message(f"{name} is skipped", level="warning")
                continue
            self.overhead = max(1.0, time.perf_counter() - began - n * forward.wall)
        if not self.entries:
            raise problems[0] if problems else self._too_short(timed[0])

    def _probe(self, spec: RunSpec) -> None:
        stored = weights_store.find(spec.backbone.name) is not None
        if not stored and not self.reachable:
            raise EnvironmentProblem("its weights were not fetched: a download failed before")
        try:
            with files_as_audited(lambda: self.probes.catalog.items):
                self.entries.append(self.probes.evaluate(spec.backbone))
        except EnvironmentProblem:
            self.reachable = stored and self.reachable
            raise

    def _reason_to_stop(self, name: str, needed: float) -> str | None:
        """Return why a backbone is not evaluated; None if it is."""
        if self.left < needed:
            return (
                f"it would take about {format_duration(needed)}, and "
                f"{format_duration(max(0.0, self.left))} of the budget were left"
            )
        if self.entries:
            best = max(self.entries, key=lambda entry: entry.correct.mean())
            errors = int(np.count_nonzero(~best.correct))
            if errors <= 1:  # no difference could exceed its standard error
                return f"it cannot be better: {best.backbone.name} makes {errors or 'no'} error" + (
                    "s" * (errors != 1)
                )
        return None

    def _too_short(self, first: tuple[ForwardTime, RunSpec]) -> UsageError:
        forward, spec = first
        needed = len(self.probes.catalog) * forward.wall + self.overhead
        spent = time.perf_counter() - self.started
        enough = format_duration(np.ceil(1.5 * (spent + needed)))
        return UsageError(
            f"--budget {format_duration(self.budget)} is too short for one backbone: "
            f"{spec.backbone.name}, the fastest, needs about {format_duration(needed)} for "
            f"{len(self.probes.catalog):,} training images",
            hint=f"--budget {enough}, or name the backbone",
        )
