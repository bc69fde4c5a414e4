"""The outcome of one attack, and the memory and time of the process that was attacked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Outcome(NamedTuple):
    """The outcome of one attack.

    Attributes:
        kind: of attack; the rows of the table.
        attack: what was tried, in a few words.
        held: whether tltool kept its promise.
        figure: what was measured, such as ``"0.4 s, 310 MiB"``.
    """

    kind: str
    attack: str
    held: bool
    figure: str = ""


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        code: its exit code; -9 if it was killed because it took too long.
        output: stdout and stderr.
        seconds: of wall time.
        peak_mib: its largest resident memory.
    """

    code: int
    output: str
    seconds: float
    peak_mib: float

    @property
    def figure(self) -> str:
        """Time and memory."""
        return f"{self.seconds:.1f} s, {self.peak_mib:.0f} MiB"


def run_python(arguments: Sequence[str], *, seconds: float = 120.0) -> Ended:
    """Run the Python interpreter, and measure it.

    Args:
        arguments: of the interpreter, such as ``["-m", "tltool", "predict", …]``.
        seconds: after this time it is killed.
    """
    program = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:]).returncode\n"
        "print('\\npeak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", program, sys.executable, *arguments]
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
    text, _, peak = output.rpartition("\npeak ")
    return Ended(
        process.returncode,
        text or output,
        time.perf_counter() - began,
        int(peak) / 1024 if peak.strip().isdigit() else 0.0,
    )
