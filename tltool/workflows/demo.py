"""The whole job on real images that every installation has: handwritten digits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.evaluation.csv_tables import read_predictions
from tltool.events import Observer
from tltool.recipe.load import load_recipe
from tltool.runs.layout import RunLayout
from tltool.runs.peers import check_single_process
from tltool.workflows.finetune import finetune
from tltool.workflows.predict import predict
from tltool.workflows.samples import has_digits, write_digits

# digits have no mirror images, and 48 pixels show all that 8 x 8 hold
_OVERRIDES = ("name=digits", "data.image_size=48", "data.test_fraction=0.2", "augment.flip=none")


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote: folders, metrics, and one prediction of the export."""

    digits: Path
    run: Path
    export: Path
    metrics: Mapping[str, Any]
    image: Path
    answer: tuple[str, float]

    def paths(self) -> dict[str, Path]:
        """Return what was written and where."""
        layout = RunLayout(self.run)
        return {
            "digits": self.digits,
            "run": self.run,
            "metrics": layout.metrics,
            "report": layout.report,
            "model": self.export,
        }

    def document(self) -> dict[str, Any]:
        """Return the result for --json."""
        name, share = self.answer
        return {
            **{what: str(path) for what, path in self.paths().items()},
            "accuracy": self.metrics["accuracy"],
            "prediction": {"image": str(self.image), "class": name, "confidence": share},
        }


def demo(folder: Path, *, offline: bool, observer: Observer) -> DemoResult:
    """Write the digits, train VGG16 on them in three phases, export, and predict with the export.

    Done again, it keeps the digits and adds a run and a version of the export.

    Raises:
        UsageError: something else than the digits is in ``folder / "digits"``.
        EnvironmentProblem: the weights cannot be downloaded.
    """
    check_single_process("the demo")
    digits = folder / "digits"
    observer.on_phase("samples", str(digits))
    if not has_digits(digits):
        write_digits(digits)
    result = finetune(
        digits,
        recipe=load_recipe("vgg16", _OVERRIDES),
        out=_next_run(folder / "runs"),
        saved_models=folder / "saved_models",
        offline=offline,
        observer=observer,
    )
    assert result.export is not None
    image = digits / _unseen(RunLayout(result.run))
    answer = predict(result.export, [image], observer=observer)[0]
    return DemoResult(digits, result.run, result.export, result.metrics, image, answer.top[0])


def _next_run(folder: Path) -> Path:
    """Make and return folder/1, or the first higher number that is free."""
    for number in itertools.count(1):
        with suppress(FileExistsError):
            (folder / str(number)).mkdir(parents=True)
            break
    return folder / str(number)


def _unseen(run: RunLayout) -> str:
    """Return one of the images that the final evaluation opened first, relative to the digits."""
    rows = list(read_predictions(run.predictions))
    return rows[len(rows) // 2].path
