"""Passes of images through the frozen part, kept under a name that says what they were made of."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tltool.augment.spec import AugmentSpec
from tltool.data.step_trace import StepTrace
from tltool.features.extract import Extractor, Features
from tltool.features.image_source import ImageSource
from tltool.runs.durable import write_durably
from tltool.training.probe import Probe
from tltool.workflows.training_run.context import Session


@dataclass(frozen=True)
class FeatureCache:
    """Computes features, or finds them: after a crash, or where another run has computed them.

    Attributes:
        session: the run.
        augment: changes of the augmented views.
        computes: head, cut and digest of the backbone: which network ran up to where.
        folder: where features are kept, a folder per pass.
        trace: of all passes that were computed.
    """

    session: Session
    augment: AugmentSpec
    computes: tuple[str, ...]
    folder: Path
    trace: StepTrace = field(default_factory=StepTrace)

    def plain(self, extractor: Extractor, source: ImageSource) -> Features:
        """Return the features of the images as they are."""
        return self._run(extractor, source, lambda start: source.plain(start=start), None)

    def augmented(self, extractor: Extractor, source: ImageSource, *, view: int) -> Features:
        """Return the features of augmented view number ``view``."""
        seed = self.session.recipe.seed

        def batches_from(start: int) -> Any:
            return source.augmented(self.augment, seed=seed, epoch=view, start=start)

        return self._run(extractor, source, batches_from, [seed, view, asdict(self.augment)])

    def probe(self, *made_of: object, solve: Callable[[], Probe]) -> Probe:
        """Return the probe that ``solve`` finds, or that was found before.

        Args:
            made_of: everything that decides the solution, beside weights and arithmetic.
            solve: fits the probe.
        """
        arithmetic = self.session.machine.precision.arithmetic
        path = self.folder / f"probe-{_name([*made_of, self.computes, arithmetic])}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                numbers = (float(file[name]) for name in ("strength", "accuracy", "loss"))
                return Probe(file["kernel"], file["bias"], *numbers)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            found = solve()
        memory = io.BytesIO()
        np.savez(memory, allow_pickle=False, **asdict(found))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, memory.getvalue())
        return found

    def _run(
        self,
        extractor: Extractor,
        source: ImageSource,
        batches_from: Callable[[int], Any],
        changes: list[Any] | None,
    ) -> Features:
        precision = self.session.machine.precision
        made_of = [
            source.digest(),
            changes,
            self.computes,
            precision.arithmetic,
            extractor.pooled_shape,
            extractor.cut_shape,
        ]
        with precision.active():
            features = extractor.run(
                lambda start: self.trace.over(batches_from(start)),
                self.folder / _name(made_of),
                count=len(source),
                classes=source.classes,
                observer=self.session.observer,
            )
        if self.trace.works:
            self.session.note(data_wait={"features": round(self.trace.share, 4)})
        return features


def _name(made_of: list[Any]) -> str:
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
