"""Passes of photos through the frozen part, kept under a name that says what they were made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tltool.augment.spec import AugmentSpec
from tltool.features.extract import Extractor, Features
from tltool.features.views import PhotoSource
from tltool.workflows.session import Session


@dataclass(frozen=True)
class Passes:
    """Computes features, or finds them: after a crash, or where another run has computed them.

    Attributes:
        session: the run.
        augment: changes of the augmented views.
        computes: head, cut and digest of the backbone: which network ran up to where.
        folder: where features are kept, a folder per pass.
    """

    session: Session
    augment: AugmentSpec
    computes: tuple[str, ...]
    folder: Path

    def plain(self, extractor: Extractor, source: PhotoSource) -> Features:
        """Return the features of the photos as they are."""
        return self._run(extractor, source, lambda start: source.plain(start=start), None)

    def augmented(self, extractor: Extractor, source: PhotoSource, *, view: int) -> Features:
        """Return the features of augmented view number ``view``."""
        seed = self.session.recipe.seed

        def batches_from(start: int) -> Any:
            return source.augmented(self.augment, seed=seed, epoch=view, start=start)

        return self._run(extractor, source, batches_from, [seed, view, asdict(self.augment)])

    def _run(
        self,
        extractor: Extractor,
        source: PhotoSource,
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
        name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
        with precision.active():
            return extractor.run(
                batches_from,
                self.folder / name,
                count=len(source),
                classes=source.classes,
                observer=self.session.observer,
            )
