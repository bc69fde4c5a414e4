"""A run that several workers do together: how they begin, what they compare, and how they fail.

The first worker writes the run folder. Each other one has a temporary folder, and starts from what
the first one sends: nothing for a new run, the files of the run folder for one that is resumed.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.events import Observer, SilentObserver
from tltool.runs.environment import environment
from tltool.runs.layout import RunLayout
from tltool.runs.peers import Peers
from tltool.runs.rendezvous import meet
from tltool.runs.run_options import RunOptions
from tltool.runs.temporary import temporary_folder
from tltool.training.agreement import from_first, has_peers, same_everywhere
from tltool.training.devices import count_gpus
from tltool.training.keras_objects import KerasObjects
from tltool.workflows.training_run.context import RunContext

_PACKAGES = ("tltool", "tensorflow", "keras")
_LOST = {"UnavailableError", "DeadlineExceededError", "AbortedError", "CancelledError",
         "InternalError", "FailedPreconditionError", "UnknownError"}  # fmt: skip
_TASK = re.compile(r"/job:worker/(?:replica:0/)?task:(\d+)")


class OnlyWarnings(SilentObserver):
    """Passes on warnings and nothing else: the first worker reports the progress for all.

    Args:
        observer: receives them.
    """

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer or SilentObserver()

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Pass on a warning."""
        if level == "warning":
            self._observer.on_message(text, level=level)


@contextmanager
def peer_options(peers: Peers | None, options: RunOptions) -> Iterator[RunOptions]:
    """Yield the options of this worker: all but the first one write into a temporary folder."""
    if peers is None or peers.writes:
        yield options
        return
    with temporary_folder("tltool-worker-") as folder:
        yield without_outputs(replace(options, out=folder / "run"))


def without_outputs(options: RunOptions) -> RunOptions:
    """Return options of a worker that shares nothing outside of its run folder."""
    return replace(options, tensorboard=False, track=(), register=None, feature_cache=None)


def check_peer_objects(peers: Peers | None, objects: KerasObjects) -> None:
    """Check that what a program gives to training works on several workers.

    Raises:
        UsageError: it does not.
    """
    if peers is not None and objects.callbacks:
        raise UsageError(
            "callbacks= works in one process only, but TF_CONFIG names "
            f"{len(peers.addresses)} workers",
            hint="leave out callbacks=, or unset TF_CONFIG",
        )


def join_new_run(peers: Peers, folder: Path, *, digest: str, options: RunOptions) -> Path:
    """Wait for all workers of a new run; return the folder of the first one.

    Args:
        peers: the processes.
        folder: the run folder of this worker.
        digest: of the recipe.
        options: of the run.

    Raises:
        UsageError: another worker is about to do something else.
        EnvironmentProblem: a worker does not come.
    """
    same = {
        **_same(peers, "finetune"),
        "the recipe": digest,
        "--time-limit": str(options.time_limit),
        "--device": options.device,
    }
    return Path(meet(peers, same, str(folder.absolute()).encode()).decode())


def send_run(peers: Peers, folder: Path) -> None:
    """Wait for all workers that resume a run, and send them its files.

    Raises:
        UsageError, EnvironmentProblem: as ``join_new_run``.
    """
    layout = RunLayout(folder)
    files = [layout.manifest, layout.recipe, layout.split, layout.corrections]
    files += [*layout.state.glob("*.npz"), *layout.backbone.glob("*")]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in files:
            if file.is_file():
                archive.write(file, str(file.relative_to(folder)))
    message = str(folder.absolute()).encode() + b"\0" + packed.getvalue()
    meet(peers, _same(peers, "runs resume"), message)


def receive_run(peers: Peers, folder: Path) -> Path:
    """Put the files of a run that is resumed into ``folder``; return the first worker's folder.

    Raises:
        UsageError, EnvironmentProblem: as ``join_new_run``.
    """
    name, _, packed = meet(peers, _same(peers, "runs resume")).partition(b"\0")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(folder)
    return Path(name.decode())


def _same(peers: Peers, command: str) -> dict[str, str]:
    """Return what must be the same on all workers."""
    versions = environment()["versions"]
    return {
        "the command": command,
        "the list of workers": ",".join(peers.addresses),
        **{f"the version of {name}": str(versions.get(name)) for name in _PACKAGES},
        "the number of GPUs": str(count_gpus()),
    }


def check_same_start(run: RunContext) -> None:
    """Check that all workers have the same images and the same network before training.

    Raises:
        DataError: they do not; raised on all workers.
    """
    strategy, manifest = run.machine.strategy, run.manifest
    for what, value in (
        ("images, or not with the same labels and names", manifest.data_digest),
        ("weights before training", manifest.weights_digest),
        ("arithmetic: train.precision=float32 is the same everywhere", manifest.precision),
    ):
        if not same_everywhere(strategy, value):
            raise DataError(
                f"the workers of TF_CONFIG do not have the same {what}",
                hint="give all workers the same files under the same path",
            )


def same_weights(run: RunContext, variables: Sequence[Any]) -> None:
    """Give all workers the weights of the first one: rounding may differ between processors."""
    if has_peers(run.machine.strategy):
        for variable in variables:
            if variable.dtype == "float32":
                value = from_first(run.machine.strategy, variable.numpy())
                variable.assign(value)


def check_same_result(run: RunContext, digest: str) -> None:
    """Check that all workers have trained the same network.

    Raises:
        EnvironmentProblem: they have not; raised on all workers.
    """
    if not same_everywhere(run.machine.strategy, digest):
        raise EnvironmentProblem(
            "the workers of TF_CONFIG ended with different weights",
            hint="use machines with the same processors or GPUs, and start a new run",
        )


def lost_peer(run: RunContext, error: Exception) -> EnvironmentProblem | None:
    """Return the error for a worker that ended or fell silent; None for any other error."""
    if run.peers is None or type(error).__name__ not in _LOST:
        return None
    task = _TASK.search(str(error))
    addresses, rank = run.peers.addresses, run.peers.rank
    number = int(task[1]) if task else rank
    if number == rank and len(addresses) == 2:
        number = 1 - rank
    lost = addresses[number] if number != rank else "another one"
    return EnvironmentProblem(
        f"a worker of TF_CONFIG ended or does not answer any more: {lost}",
        hint=f"start all workers again with: tltool runs resume {run.known_folder}",
    )
