"""What a run is called with, beside its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Device = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class RunOptions:
    """What a run is called with, beside its recipe.

    Attributes:
        data: the source of images: a folder with one folder of images per class, or with train,
            val and test folders of such; docs/data.md names the others.
        test: a separate source of test images, opened only by the final evaluation.
        out: the run folder, absent or empty; None for runs/<name>-<UTC>.
        saved_models: the export goes to <saved_models>/<export_name>/<version>.
        export_name: name of the exported model; None until the run has decided it.
        weights: a file of pretrained weights that replaces the recipe's.
        offline: open no network connection.
        device: auto uses GPUs where TensorFlow sees any.
        tensorboard: write event files into the run folder.
        track: trackers beside TensorBoard: mlflow, wandb.
        register: name of the registered model of MLflow that gets the exported model; None for
            none.
        feature_cache: a folder of features that several runs share; None for the run's own, which
            is removed at its end.
        time_limit: seconds after which the run is to be over, evaluation and export included; None
            for no limit.
        corrections: a file of corrected labels; None for the labels of the source.
        corrections_by: the person whose decision counts where people disagree; None for nobody.
        workers: number of worker processes on this machine that compute features; None for none.
        cluster: the Ray cluster whose workers do that instead: auto or HOST:PORT.
        seconds_before: seconds of the time limit that the caller spent, as on loading TensorFlow.
    """

    data: str
    test: str | None = None
    out: Path | None = None
    saved_models: Path = Path("saved_models")
    export_name: str | None = None
    weights: Path | None = None
    offline: bool = False
    device: Device = "auto"
    tensorboard: bool = True
    track: tuple[str, ...] = ()
    register: str | None = None
    feature_cache: Path | None = None
    time_limit: float | None = None
    corrections: Path | None = None
    corrections_by: str | None = None
    workers: int | None = None
    cluster: str | None = None
    seconds_before: float = 0.0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunOptions:
        """Return the options that ``to_json`` wrote."""
        return cls(
            document["data"],
            test=document["test"],
            saved_models=Path(document["saved_models"]),
            export_name=document.get("export_name"),
            weights=Path(document["weights"]) if document["weights"] else None,
            device=document["device"],
            tensorboard=document["tensorboard"],
            track=tuple(document["track"]),
            register=document.get("register"),
            time_limit=document.get("time_limit"),
            corrections=Path(document["corrections"]) if document.get("corrections") else None,
            corrections_by=document.get("corrections_by"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a later process needs to go on, wherever it starts; sources unchanged."""
        return {
            "data": self.data,
            "test": self.test,
            "saved_models": str(self.saved_models.absolute()),
            "export_name": self.export_name,
            "weights": str(self.weights.absolute()) if self.weights else None,
            "device": self.device,
            "tensorboard": self.tensorboard,
            "track": list(self.track),
            "register": self.register,
            "time_limit": self.time_limit,
            "corrections": str(self.corrections.absolute()) if self.corrections else None,
            "corrections_by": self.corrections_by,
        }
