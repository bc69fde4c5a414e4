"""Digests of the images and weights that a resumed or reproduced run must find again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.data.catalog import Catalog
from tltool.data.splits.split import SplitRow, shown_path
from tltool.errors import DataError, EnvironmentProblem

_NAMED = 5


@dataclass(frozen=True)
class RunFingerprint:
    """Digests of an earlier run; None where it did not come so far.

    Attributes:
        purpose: what needs them: resume or reproduce.
        data_digest: of contents and labels.
        rows: the earlier run's split.csv.
        weights_digest: of the network before training.
        in_order: whether the images must come in the same order too.
        time_limit: where the time limit of the earlier run ended training (``until``: phase and
            epoch) and how many ``views`` it cached; None if it changed nothing.
        micro_batches: most images at once by kind of work, where its memory was too small.
        precision: arithmetic of the run, if it is recorded: with ``train.precision: auto`` it is
            not chosen again.
    """

    purpose: str
    data_digest: str | None
    rows: Sequence[SplitRow]
    weights_digest: str | None
    in_order: bool
    time_limit: Mapping[str, Any] | None = None
    micro_batches: Mapping[str, int] | None = None
    precision: str | None = None

    def check_data(self, catalog: Catalog) -> None:
        """Compare the images.

        Raises:
            DataError: they differ; names what was added, removed and changed.
        """
        if self.data_digest is None:
            return
        if catalog.digest() != self.data_digest:
            raise DataError(
                f"the images in '{catalog.root}' are not those of the run to {self.purpose}: "
                f"{self._what_changed(catalog)}",
                hint="give the folder with the same images, or start a new run: tltool finetune",
            )
        before = [(row.sha256, row.label) for row in self.rows]
        columns = catalog.columns
        now = list(zip(columns.digests(), columns.labels(), strict=True))
        if self.in_order and before != now:
            raise DataError(
                f"images in '{catalog.root}' were renamed, so that their order differs from "
                f"that of the run to {self.purpose}",
                hint="give them their names of split.csv again, or start a new run",
            )

    def check_weights(self, digest: str) -> None:
        """Compare the weights of the untrained network.

        Raises:
            EnvironmentProblem: they differ.
        """
        if self.weights_digest not in (None, digest):
            raise EnvironmentProblem(
                f"the weights to start from are not those of the run to {self.purpose} "
                f"(digest {digest[:12]}…, then {str(self.weights_digest)[:12]}…)",
                hint="manifest.json of the run names the source of its weights: "
                "`tltool weights pull`, or --weights FILE",
            )

    def _what_changed(self, catalog: Catalog) -> str:
        before = {row.path.as_posix(): (row.sha256, row.label) for row in self.rows}
        now = {
            shown_path(item.path, catalog.root): (item.sha256, item.label) for item in catalog.items
        }
        groups = {
            "added": [path for path in now if path not in before],
            "removed": [path for path in before if path not in now],
            "changed": [path for path in now if path in before and now[path] != before[path]],
        }
        parts = [f"{len(paths)} {kind} ({_some(paths)})" for kind, paths in groups.items() if paths]
        return ", ".join(parts) or "the same files, but in other classes"


def _some(paths: Sequence[str]) -> str:
    more = ", …" if len(paths) > _NAMED else ""
    return ", ".join(sorted(paths)[:_NAMED]) + more
