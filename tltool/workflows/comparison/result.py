"""The result of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.evaluation.metrics.intervals import wilson
from tltool.evaluation.metrics.paired_tests import Paired, verdict
from tltool.workflows.comparison.candidates import (
    ComparedRun,
    Cost,
    Key,
)


@dataclass(frozen=True)
class Comparison:
    """Runs on the same images; all others are compared with the first.

    Attributes:
        contenders: the runs.
        keys: the images, by content.
        correct: which images each run gets right, bool [runs, N].
        paired: each run but the first against it.
        costs: of each run; None where its model is gone.
    """

    contenders: tuple[ComparedRun, ...]
    keys: tuple[Key, ...]
    correct: np.ndarray
    paired: tuple[Paired, ...]
    costs: tuple[Cost | None, ...]

    @property
    def verdicts(self) -> list[str]:
        """One sentence per comparison."""
        first, *others = self.contenders
        return [
            verdict(first.name, other.name, paired)
            for other, paired in zip(others, self.paired, strict=True)
        ]

    def accuracy(self, number: int) -> tuple[float, float, float]:
        """Return the accuracy of a run and its Wilson interval."""
        hits, n = int(self.correct[number].sum()), len(self.keys)
        return hits / n, *wilson(hits, n)

    def only_one_right(self, first: int, second: int) -> list[Key]:
        """Return the images that run ``first`` gets right and run ``second`` does not."""
        rows = np.flatnonzero(self.correct[first] & ~self.correct[second])
        return [self.keys[row] for row in rows]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        runs = []
        for number, (one, cost) in enumerate(zip(self.contenders, self.costs, strict=True)):
            value, low, high = self.accuracy(number)
            runs.append(
                {
                    "name": one.name,
                    "run": str(one.run.folder),
                    "evaluated_on": one.part,
                    "accuracy": {"value": value, "low": low, "high": high},
                    "cost": vars(cost) if cost else None,
                }
            )
        first, *others = self.contenders
        comparisons = [
            {
                "first": first.name,
                "second": other.name,
                **paired.to_json(),
                "verdict": sentence,
                "only_first_right": self._paths(self.only_one_right(0, number)),
                "only_second_right": self._paths(self.only_one_right(number, 0)),
            }
            for number, (other, paired, sentence) in enumerate(
                zip(others, self.paired, self.verdicts, strict=True), start=1
            )
        ]
        return {"n": len(self.keys), "runs": runs, "comparisons": comparisons}

    def _paths(self, keys: Sequence[Key]) -> list[str]:
        return [self.contenders[0].answers[key].path.as_posix() for key in keys]
