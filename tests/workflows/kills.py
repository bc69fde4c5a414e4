"""Train, kill -9 at random moments, resume, compare with the run that was never killed.

python kills.py DATA FOLDER KILLS SEED KEY=VALUE...

A process of its own: it imports TensorFlow once and forks before anything of it has started, so
that a training run costs seconds. Prints one JSON document.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import keras_cv  # noqa: F401  (imported here once, not in every child)
import matplotlib.pyplot  # noqa: F401
import sklearn.linear_model  # noqa: F401

from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune
from tltool.workflows.resume import resume

PHASES = (
    "weights", "audit", "model", "features", "probe", "head", "finetune", "calibration", "refit",
    "refit_head", "refit_finetune", "evaluation",
)  # fmt: skip
RESULTS = ("metrics.json", "predictions.csv", "split.csv", "recipe.yaml")


def fork(work: Callable[[], object]) -> int:
    """Do ``work`` in a child; return its process number."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def ended(child: int) -> bool:
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, child, options) is not None


def wait(child: int) -> bool:
    """Wait for a child; return whether it came to its end before it was killed."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"the child ended with {status}")
    return status == 0


def said(run: Path) -> list[str]:
    """Return the lines of a run's log so far, without their times."""
    log = run / "log.txt"
    lines = log.read_text().splitlines() if log.is_file() else []
    return [line.partition(" ")[2] for line in lines]


def watch(child: int, run: Path) -> list[float]:
    """Return how many seconds passed until the log had its first, second, third … line."""
    started, times = time.monotonic(), list[float]()
    while not ended(child):
        now = time.monotonic() - started
        times += [now] * (len(said(run)) - len(times))
        time.sleep(0.002)
    return [*times, time.monotonic() - started]


def kill_within(child: int, run: Path, line: int, delay: float) -> bool:
    """Kill a child ``delay`` seconds after its log has ``line`` lines; return whether it ended."""
    while not ended(child) and len(said(run)) < line:
        time.sleep(0.002)
    until = time.monotonic() + delay
    while not ended(child) and time.monotonic() < until:
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return wait(child)


def outcome(run: Path) -> dict[str, str]:
    digests = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in RESULTS}
    return {**digests, "weights": json.loads((run / "manifest.json").read_text())["model_digest"]}


def epochs(run: Path) -> int:
    """Return how many epochs were trained, repeated ones included."""
    return sum(line.startswith("epoch ") for line in said(run))


def main() -> None:
    photos, folder, kills, seed, *settings = sys.argv[1:]
    recipe = load_recipe("vgg16", settings)
    out, dice = Path(folder), random.Random(int(seed))

    def train(run: Path) -> int:
        return fork(lambda: finetune(Path(photos), recipe=recipe, out=run, offline=True))

    child = train(out / "whole")
    times = watch(child, out / "whole")
    wait(child)
    wanted, lines, rows = outcome(out / "whole"), said(out / "whole"), []
    while len(rows) < int(kills):
        run = out / f"run{len(rows)}-{dice.random()}"
        # any line of the log is as likely as any other: epochs and phases, short ones too
        line = dice.randrange(1, len(lines))
        delay = dice.random() * (times[line] - times[line - 1])
        if kill_within(train(run), run, line, delay):
            continue  # this machine was faster than before
        before = [word for word in map(phase_of, lines[:line]) if word]
        wait(fork(lambda run=run: resume(run, offline=True)))
        rows.append(
            {
                "phase": before[-1] if before else "start",
                "after": lines[line - 1],
                "identical": outcome(run) == wanted,
                "repeated": epochs(run) - epochs(out / "whole"),
                "left": [path.name for path in run.iterdir() if path.name in ("state", "cache")],
            }
        )
    print(json.dumps({"seconds": times[-1], "kills": rows}))


def phase_of(line: str) -> str | None:
    word = line.partition(":")[0]
    return word if word in PHASES else None


if __name__ == "__main__":
    main()
