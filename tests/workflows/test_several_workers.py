"""Two processes train one model as one process does, and go on after the loss of one."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import keras
import numpy as np
import pytest

from tests.fork_server import Forked, ForkServer
from tests.workflows.conftest import write_fruit
from tests.workflows.test_several_devices import COMMON, LIVE
from tltool.runs.layout import MODEL_FILE, RunLayout
from tltool.runs.manifest import read_manifest

pytestmark = [pytest.mark.thorough, pytest.mark.slow]
PROGRAM = """
import json, os, signal, sys, tempfile
from pathlib import Path
from tests.conftest import merged
from tests.workflows.conftest import TINY
from tltool.cli.terminal.error_output import explained
from tltool.recipe.load import load_recipe
from tltool.training.training_step import TrainingStep
from tltool.workflows.finetune import finetune
from tltool.workflows.resume import resume

photos, run, settings, ends = *map(Path, sys.argv[1:3]), json.loads(sys.argv[3]), sys.argv[4]

tempfile.tempdir = str(run.parent)  # a process that is killed leaves its folder there
steps = []
whole = TrainingStep.__call__

def step(self, *batch):
    steps.append(batch)
    if ends == "kill" and len(steps) == 8:  # in the second fine-tuning epoch
        os.kill(os.getpid(), signal.SIGKILL)
    if ends == "silent":
        os.kill(os.getpid(), signal.SIGSTOP)
    return whole(self, *batch)

TrainingStep.__call__ = step
try:
    if ends == "resumed":
        result = resume(run)
    else:
        recipe = load_recipe("vgg16", merged(*TINY, *settings))
        result = finetune(photos, recipe=recipe, out=run)
except Exception as error:
    problem = explained(error)
    print(problem.message, problem.hint)
    os._exit(problem.exit_code)
print(result.run)
"""
SETTINGS = [
    *COMMON,
    *(one for one in LIVE if not one.startswith("augment")),
    "train.head.epochs=1",
    "train.probe.enabled=false",
]


def start(
    server: ForkServer, photos: Path, run: Path, ends: tuple[str, ...]
) -> list[tuple[int, str]]:
    """Run as many processes as ``ends`` has entries; return their exit codes and what they print.

    Args:
        server: starts them.
        photos: the images.
        run: the run folder.
        ends: of each process: kill, to end it in the second fine-tuning epoch; silent, to stop it
            in the first step; resumed, to resume the run; nothing for a new run.
    """
    with ExitStack() as stack:
        ports = [stack.enter_context(socket.socket()) for _ in ends]
        for port in ports:
            port.bind(("localhost", 0))
        addresses = [f"localhost:{port.getsockname()[1]}" for port in ports]
    processes = []
    with ExitStack() as stack:
        for rank, end in enumerate(ends):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
            output = stack.enter_context(tempfile.TemporaryFile())
            arguments = (str(photos), str(run), json.dumps(SETTINGS), end)
            process = server.start(
                PROGRAM, *arguments, stdout=output, stderr=output, environment=environment
            )
            processes.append((process, output, end))
        ended = {one[0].pid: ending(*one[:2]) for one in processes if one[2] != "silent"}
        for process, output, end in processes:
            if end == "silent":
                process.kill()
                ended[process.pid] = ending(process, output)
        return [ended[process.pid] for process, _, _ in processes]


def ending(process: Forked, output: IO[bytes]) -> tuple[int, str]:
    """Return the exit code of a process and what it printed."""
    process.communicate(timeout=120)
    output.seek(0)
    assert process.returncode is not None
    return process.returncode, output.read().decode(errors="replace")


def weights(run: Path) -> list[np.ndarray]:
    return keras.saving.load_model(run / MODEL_FILE, compile=False).get_weights()


def test_two_workers_train_as_one_and_a_run_that_lost_one_is_resumed(forked_tltool, tmp_path):
    photos = write_fruit(tmp_path / "photos", n=9)
    one, two, lost = (tmp_path / name for name in ("one", "two", "lost"))
    assert start(forked_tltool, photos, one, ("",))[0][0] == 0
    ended = start(forked_tltool, photos, two, ("", ""))
    assert [code for code, _ in ended] == [0, 0], ended
    assert read_manifest(RunLayout(two).manifest).cluster == {"ranks": 2}
    largest = max(
        float(np.abs(a - b).max()) for a, b in zip(weights(one), weights(two), strict=True)
    )
    assert largest < 1e-5

    started = time.monotonic()
    (code, text), (killed, _) = start(forked_tltool, photos, lost, ("", "kill"))
    assert killed == -signal.SIGKILL
    assert time.monotonic() - started < 60
    assert code == 5, text
    assert f"start all workers again with: tltool runs resume {lost}" in text
    ended = start(forked_tltool, photos, lost, ("resumed", "resumed"))
    assert [code for code, _ in ended] == [0, 0], ended
    digests = [read_manifest(RunLayout(run).manifest).model_digest for run in (two, lost)]
    assert digests[0] == digests[1]


def test_workers_do_not_wait_for_a_silent_one(forked_tltool, tmp_path):
    photos, run = write_fruit(tmp_path / "photos", n=4), tmp_path / "run"
    _, (code, text) = start(forked_tltool, photos, run, ("silent", ""))
    assert code == 5, text
    assert "a worker of TF_CONFIG ended or does not answer any more: localhost:" in text
    assert f"start all workers again with: tltool runs resume {run}" in text
