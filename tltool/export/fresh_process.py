"""A fresh process that runs an export with its runtime only, without tltool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from tltool.errors import GateError
from tltool.export.export_formats import Runtime
from tltool.runs.keras_setup import BACKEND
from tltool.runs.temporary import explain_temporary_errors, says_disk_full, temporary_problem

CHILD = Path(__file__).with_name("parity_child.py")
TIMEOUT = 900.0  # seconds

Outputs = dict[str, NDArray[Any]]


class FreshProcess:
    """Runs one export with its runtime only. It loads the runtime while the parent works.

    Use it as a context manager, which ends the process on exit.
    """

    def __init__(self, runtime: Runtime = "saved_model") -> None:
        self.runtime = runtime
        with explain_temporary_errors():
            self._folder = tempfile.TemporaryDirectory(prefix="tltool-parity-")
            self._log = Path(self._folder.name) / "log.txt"
            with self._log.open("wb") as log:
                self._process = start_child(runtime, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def run(
        self, model: Path, *, arrays: NDArray[np.float32], images: Sequence[bytes] = ()
    ) -> Outputs:
        """Return the outputs of the export. Call it once per process.

        Args:
            model: the folder of the SavedModel, or the file of another format.
            arrays: decoded images float32 [N, H, W, 3].
            images: the same images, encoded; only a SavedModel takes them.

        Returns:
            ``images_probabilities`` float32 [N, C], ``images_seconds`` and ``repeat_difference``;
            of a SavedModel also ``bytes_probabilities``, ``bytes_ok`` and the class ids.

        Raises:
            GateError: the export does not run.
            EnvironmentProblem: the folder for temporary files is full or cannot be written.
        """
        folder = Path(self._folder.name)
        inputs, outputs = folder / "inputs.npz", folder / "outputs.npz"
        with explain_temporary_errors():
            np.savez(
                inputs,
                arrays=arrays,
                contents=np.frombuffer(b"".join(images), np.uint8),
                ends=np.cumsum([len(image) for image in images], dtype=np.int64),
            )
        request = {"model": str(model.resolve()), "inputs": str(inputs), "outputs": str(outputs)}
        self._wait(json.dumps(request) + "\n")
        if self._process.returncode != 0 or not outputs.is_file():
            if says_disk_full(self._last_line()):
                raise temporary_problem(self._last_line())
            raise GateError(
                "the exported model does not run in a fresh process with its runtime only "
                f"({self.runtime}): {self._last_line()}",
                hint="nothing was exported; if it happens again, report it with this message",
            )
        with np.load(outputs) as file:
            return dict(file)

    def _wait(self, request: str) -> None:
        try:
            self._process.communicate(request, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise GateError(
                f"the exported model did not finish within {TIMEOUT:.0f} s in a fresh process"
            ) from error

    def _last_line(self) -> str:
        """Return the last line of the log: the error message if the process raised one."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"


def start_child(runtime: Runtime, log: IO[bytes]) -> subprocess.Popen[str]:
    """Start the child process, which waits for a request on stdin; its output goes to ``log``."""
    return subprocess.Popen(
        [sys.executable, str(CHILD), runtime],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
    )


def environment() -> dict[str, str]:
    """Return the environment variables of the child process."""
    # The parent occupies the memory of every GPU, and most servers run on the CPU.
    own = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": BACKEND}
    return {**os.environ, **own}
