"""What must be alike in all processes of a computation, so that all of them give the same bits."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool import __version__
from tltool.errors import EnvironmentProblem
from tltool.runs.environment import flags, versions

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile", "asimd")
_THREAD_FLAGS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
_PYTHON_DIGITS = 2  # Ray compares the rest


def signature() -> dict[str, str]:
    """Return versions and arithmetic of this process.

    Examples:
        >>> signature()["architecture"]
        'x86_64'
    """
    found = versions()
    found["python"] = ".".join(found["python"].split(".")[:_PYTHON_DIGITS])
    found["tltool"] = __version__
    deciding = {name: value for name, value in flags().items() if name not in _THREAD_FLAGS}
    return {
        **found,
        "architecture": platform.machine(),
        "instructions": " ".join(_instructions()),
        **deciding,
    }


def thread_flags() -> dict[str, str]:
    """Return the environment variables of this process on threads, where they are set."""
    return {name: value for name, value in flags().items() if name in _THREAD_FLAGS}


def set_thread_flags(values: Mapping[str, str]) -> None:
    """Set the variables of ``thread_flags`` as in the process that began the work.

    A run records them, and Ray sets some of its own in its workers.

    Args:
        values: as ``thread_flags`` returned them there.
    """
    for name in _THREAD_FLAGS:
        os.environ.pop(name, None)
    os.environ.update(values)


def _instructions() -> list[str]:
    """Return the instruction sets of the processor that change how numbers are added up."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return [platform.processor()]
    text = info.read_text(encoding="utf-8", errors="replace").lower()
    line = next((one for one in text.splitlines() if one.startswith(("flags", "features"))), "")
    present = set(line.partition(":")[2].split())
    return [name for name in _INSTRUCTIONS if name in present]


def check_signature(expected: Mapping[str, Any]) -> None:
    """Compare this process with the one that began the work.

    Raises:
        EnvironmentProblem: they differ; names what is here and what is there.
    """
    here = signature()
    differing = [name for name in {**expected, **here} if here.get(name) != expected.get(name)]
    if differing:
        name = differing[0]
        raise EnvironmentProblem(
            f"the machine '{platform.node()}' of the cluster would compute other numbers: its "
            f"{name} is {here.get(name) or 'not set'}, that of the machine of this command is "
            f"{expected.get(name) or 'not set'}",
            hint="use the same image or the same locked packages on all machines, and machines "
            "with processors of the same kind",
        )
