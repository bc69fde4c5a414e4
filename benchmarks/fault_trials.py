"""One trial of `benchmarks/faults.py`: a command in a child, a fault, and the next try."""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fault_jobs import Given, Job
from tltool.cli.terminal.error_output import explained
from tltool.events import SilentObserver

PATIENCE = 1800  # seconds for one command, also on a busy machine


@dataclass
class Row:
    """How often a fault was tried on a command, and what was not held."""

    fault: str
    command: str
    tried: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Trials:
    """All trials of one session.

    Attributes:
        jobs: the commands.
        given: what they start from.
        home: a folder for everything.
        dice: draws the moments.
        seconds: wall seconds of each undisturbed command.
        rows: the results.
    """

    jobs: dict[str, Job]
    given: Given
    home: Path
    dice: random.Random
    seconds: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def row(self, fault: str, command: str) -> Row:
        print(f"{time.strftime('%H:%M:%S')} {fault}, {command}", file=sys.stderr, flush=True)
        self.rows.append(Row(fault, command))
        return self.rows[-1]

    def moment(self, command: str) -> float:
        return self.dice.random() * self.seconds[command]


def fork(work: Callable[[], object], log: Path) -> int:
    """Do ``work`` in a child, whose exit code is that of the command line; return its number."""
    child = os.fork()
    if child:
        return child
    code = 0
    for number in (signal.SIGTERM, signal.SIGHUP):  # this program may have been started by nohup
        signal.signal(number, signal.SIG_DFL)
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        traceback.print_exc()
        code = explained(error).exit_code
    sys.stderr.flush()
    os._exit(code)


def ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait_until(over: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds, at most so long; return whether it holds."""
    until = time.monotonic() + seconds
    while not over() and time.monotonic() < until:
        time.sleep(0.001)
    return over()


def code_of(child: int) -> int:
    """Return the exit code of a child, or minus the signal that ended it."""
    if not wait_until(lambda: ended(child), PATIENCE):
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def try_again(trials: Trials, command: str, folder: Path, row: Row, codes: set[int]) -> None:
    """Check what a fault left, and that the next try ends well."""
    job, log = trials.jobs[command], trials.home / "log.txt"
    row.problems += job.damage(folder)
    codes.add(code_of(fork(lambda: job.act(folder, SilentObserver()), log)))
    if codes & {1} or not job.complete(folder):
        row.problems.append(f"exit codes {sorted(codes)}; see {log}")
    row.problems += job.damage(folder)
    row.tried += 1
    shutil.rmtree(folder)


def start(trials: Trials, command: str, folder: Path) -> int:
    folder.mkdir()
    job = trials.jobs[command]
    return fork(lambda: job.act(folder, SilentObserver()), trials.home / "log.txt")


def undisturbed(trials: Trials) -> None:
    """Take the time of every command."""
    for command, job in trials.jobs.items():
        folder, started = trials.home / "undisturbed", time.monotonic()
        code = code_of(start(trials, command, folder))
        if code or not job.complete(folder) or list(job.damage(folder)):
            sys.exit(f"{command} fails without a fault, with exit code {code}: {trials.home}")
        trials.seconds[command] = time.monotonic() - started
        shutil.rmtree(folder)
