"""Recognises the folders that tltool writes to, which may be among the images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tltool.runs.layout import GROUP_FILE, RunLayout

_RUN = RunLayout(Path("*"))
_FILES: Mapping[str, tuple[str, ...]] = {
    "runs": (str(_RUN.manifest), f"*/{GROUP_FILE}"),
    "saved_models": ("*/*/saved_model.pb", "*/*/assets.extra"),
    "data_check": ("*/data_report.html",),
    "mlruns": ("*/meta.yaml",),
    "wandb": ("run-*", "offline-run-*"),
    "lightning_logs": ("version_*/hparams.yaml",),
}


def is_output_folder(folder: Path) -> bool:
    """Return whether a folder has the name and the files of one that tltool writes by default.

    MLflow, Weights & Biases and Lightning write to ``mlruns``, ``wandb`` and ``lightning_logs``.

    After ``tltool finetune .`` in the folder of the images, ``runs`` with its plots is next to the
    class folders.
    """
    patterns = _FILES.get(folder.name, ())
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)
