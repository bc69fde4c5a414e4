"""The largest memory that this process has used."""

from __future__ import annotations

import sys

import psutil


def peak_memory_mib() -> int:
    """Return the largest resident memory of this process until now, MiB."""
    if sys.platform == "win32":
        peak = int(psutil.Process().memory_info().peak_wset)
    else:
        import resource

        # in KiB on Linux, in bytes on macOS
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return round(peak / 2**20)
