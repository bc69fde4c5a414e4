"""manifest.json: what a run was made of, so that another can be compared with it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = (
    "tltool", "tensorflow", "tensorflow-cpu", "keras", "keras-cv", "numpy", "scipy",
    "scikit-learn", "pillow",
)  # fmt: skip


def write_manifest(path: Path, facts: Mapping[str, Any]) -> None:
    """Write ``facts`` with the versions and the machine added."""
    document = {**facts, "versions": versions(), "machine": machine()}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what of the machine decides the numbers: system, processor, cores."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "byte_order": sys.byteorder,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
