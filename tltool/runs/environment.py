"""The environment of a run, as far as it decides the numbers."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tltool.runs.keras_setup import KERAS_SETTINGS

PACKAGES = (
    "tltool", "tensorflow", "tensorflow-cpu", "keras", "keras-cv", "numpy", "scipy",
    "scikit-learn", "pillow",
)  # fmt: skip
_FLAGS = (
    "TF_ENABLE_ONEDNN_OPTS", "TF_CPU_ALLOCATOR_USE_BFC", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "XLA_FLAGS", "TF_XLA_FLAGS",
    "TF_DETERMINISTIC_OPS", "NVIDIA_TF32_OVERRIDE", "ONEDNN_MAX_CPU_ISA",
)  # fmt: skip

_FIELD = re.compile(r"^(Name|Version):(.*)$", re.MULTILINE)
_CHECKOUT = Path(__file__).resolve().parents[2]  # of tltool itself, when it is no installed wheel


def environment() -> dict[str, Any]:
    """Return versions, machine, settings of Keras, flags, code and container, JSON-ready."""
    return {
        "versions": versions(),
        "lock_digest": lock_digest(),
        "machine": machine(),
        "keras": dict(KERAS_SETTINGS),
        "flags": flags(),
        "git_commit": _git_commit(Path.cwd()),
        "tltool_commit": _git_commit(_CHECKOUT) if (_CHECKOUT / ".git").exists() else None,
        "container": _container(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def flags() -> dict[str, str]:
    """Return the environment variables that decide the numbers, where they are set."""
    return {name: os.environ[name] for name in _FLAGS if name in os.environ}


@functools.cache
def installed() -> tuple[str, ...]:
    """Return ``name==version`` of every installed package, sorted."""
    pairs = map(_name_and_version, importlib.metadata.distributions())
    return tuple(sorted({pair for pair in pairs if pair is not None}))


def _name_and_version(package: importlib.metadata.Distribution) -> str | None:
    """Return ``name==version``; None without a name.

    ``package.metadata`` parses the whole file, README included, at every access: a second of CPU
    time for 200 packages.
    """
    text = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    fields = {key: value.strip() for key, value in _FIELD.findall(head)}
    if not fields.get("Name"):
        return None
    return f"{fields['Name'].lower()}=={fields.get('Version')}"


def lock_digest() -> str:
    """Return a SHA-256 (hex) over ``installed``."""
    return hashlib.sha256("\n".join(installed()).encode()).hexdigest()


def machine() -> dict[str, Any]:
    """Return what of the machine decides the numbers: system, processor, cores."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "byte_order": sys.byteorder,
    }


def cores() -> int:
    """Return how many cores this process may use, which decides the order of sums."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compute_threads() -> int:
    """Return how many threads TensorFlow computes with, unless a program has set it."""
    text = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else cores()


def available_memory() -> int:
    """Return how many bytes of memory are free for this process, also within a container."""
    free = int(psutil.virtual_memory().available)
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        return min(free, max(int(limit) - int(used), 0))
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return free


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (what, before, now) for everything in which two environments differ."""
    old, new = dict(_flat(before)), dict(_flat(now))
    names = [*old, *(name for name in new if name not in old)]
    return [
        (name, old.get(name, "-"), new.get(name, "-"))
        for name in names
        if old.get(name, "-") != new.get(name, "-")
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git_commit(folder: Path) -> str | None:
    """Return the commit of a checkout, with ``+`` when its files differ from it."""
    command = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*command, "status", "--porcelain", "--untracked-files=no", "--", str(folder)],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _container() -> str | None:
    """Return the name of the container image, ``unnamed`` inside one without a name."""
    named = os.environ.get("TLTOOL_IMAGE")
    if named:
        return named
    inside = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
    return "unnamed" if inside else None
