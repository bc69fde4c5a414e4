"""The refit of a run, and which model its metrics are of, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BEFORE_REFIT = "the model before the refit"
REFITTED = "the refitted model"


def before_refit(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of history.csv without those of a refit, which starts from the beginning."""
    return [row for row in history if not str(row["phase"]).startswith("refit_")]


def after_refit(manifest: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return ``refit`` of the metrics of a refitted model; None if its run has no refit.

    Args:
        manifest: the document of manifest.json; None if there is none.
    """
    refit = (manifest or {}).get("refit")
    return {**refit, "evaluated": REFITTED} if refit else None


def describe_refit(metrics: Mapping[str, Any]) -> str:
    """Return a sentence on the refit, and which model was measured; empty without a refit.

    Args:
        metrics: the document of metrics.json; ``refit`` may be missing in it.
    """
    refit = metrics.get("refit")
    if not refit:
        return ""
    images = f"{refit['images']:,} training and validation images"
    if refit["evaluated"] == REFITTED:
        return (
            f"The model was refitted on all {images}; these figures are of it, its temperature and "
            "thresholds of the model before."
        )
    return (
        f"These figures are of the model before the refit, which has not seen these images; the "
        f"model that is saved and exported was then refitted on all {images} by the same schedule."
    )
