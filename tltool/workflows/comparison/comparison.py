"""The result of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.evaluation.metrics.paired_tests import PairedComparison, verdict
from tltool.evaluation.shared_test_set import SharedTestSet
from tltool.workflows.comparison.compared_runs import (
    ComparedRun,
    Cost,
    Key,
)


@dataclass(frozen=True)
class Comparison:
    """Runs on the same images; the others are compared with the first.

    Attributes:
        runs: the runs.
        keys: the images, by content.
        correct: whether each run classifies each image correctly, bool [runs, N].
        groups: the group of each image, int64 [N].
        paired: each run but the first, compared with the first.
        costs: of each run; None if its model does not exist any more.
        test_sets: those that other runs in the same folder used too.
    """

    runs: tuple[ComparedRun, ...]
    keys: tuple[Key, ...]
    correct: np.ndarray
    groups: np.ndarray
    paired: tuple[PairedComparison, ...]
    costs: tuple[Cost | None, ...]
    test_sets: tuple[SharedTestSet, ...] = ()

    @property
    def verdicts(self) -> list[str]:
        """One sentence per comparison."""
        first, *others = self.runs
        return [
            verdict(first.name, other.name, paired)
            for other, paired in zip(others, self.paired, strict=True)
        ]

    def accuracy(self, number: int) -> tuple[float, float, float]:
        """Return the accuracy of a run and its Wilson interval for the effective sample size."""
        rate = rate_of(self.correct[number], self.groups)
        return rate["value"], rate["low"], rate["high"]

    def only_one_correct(self, first: int, second: int) -> list[Key]:
        """Return the images that run ``first`` classifies correctly and run ``second`` does not."""
        rows = np.flatnonzero(self.correct[first] & ~self.correct[second])
        return [self.keys[row] for row in rows]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        rows = []
        for number, (one, cost) in enumerate(zip(self.runs, self.costs, strict=True)):
            value, low, high = self.accuracy(number)
            rows.append(
                {
                    "name": one.name,
                    "run": str(one.run.folder),
                    "evaluated_on": one.split,
                    "accuracy": {"value": value, "low": low, "high": high},
                    "cost": vars(cost) if cost else None,
                }
            )
        first, *others = self.runs
        comparisons = [
            {
                "first": first.name,
                "second": other.name,
                **paired.to_json(),
                "verdict": sentence,
                "only_first_correct": self._paths(self.only_one_correct(0, number)),
                "only_second_correct": self._paths(self.only_one_correct(number, 0)),
            }
            for number, (other, paired, sentence) in enumerate(
                zip(others, self.paired, self.verdicts, strict=True), start=1
            )
        ]
        test_sets = [test_set.to_json() for test_set in self.test_sets]
        return {
            "n": len(self.keys),
            "runs": rows,
            "comparisons": comparisons,
            "test_sets": test_sets,
        }

    def _paths(self, keys: Sequence[Key]) -> list[str]:
        return [self.runs[0].predictions[key].path.as_posix() for key in keys]
