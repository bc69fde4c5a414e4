"""The fresh process that runs an export without what made it."""

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

CHILD = Path(__file__).with_name("parity_child.py")
PATIENCE = 900.0  # seconds until a child that says nothing is given up

Predictions = dict[str, NDArray[Any]]


class FreshProcess:
    """Runs one export with its runtime alone. Started early, it loads it while the parent works.

    Use it as a context manager: it is gone at the end, whatever happened.
    """

    def __init__(self, runtime: Runtime = "saved_model") -> None:
        self.runtime = runtime
        self._folder = tempfile.TemporaryDirectory(prefix="tltool-parity-")
        self._said = Path(self._folder.name) / "said.txt"
        with self._said.open("wb") as said:
            self._process = start_child(runtime, said)

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

    def ask(
        self, model: Path, *, arrays: NDArray[np.float32], images: Sequence[bytes] = ()
    ) -> Predictions:
        """Return what the export answers; once per process.

        Args:
            model: the SavedModel's folder, or the file of another format.
            arrays: decoded images float32 [N, H, W, 3].
            images: the same images, encoded; only a SavedModel reads them.

        Returns:
            ``images_probabilities`` and ``repeat_difference``; of a SavedModel also
            ``bytes_probabilities``, ``bytes_ok`` and the class numbers.

        Raises:
            GateError: it does not run.
        """
        folder = Path(self._folder.name)
        inputs, outputs = folder / "inputs.npz", folder / "outputs.npz"
        np.savez(
            inputs,
            arrays=arrays,
            contents=np.frombuffer(b"".join(images), np.uint8),
            ends=np.cumsum([len(image) for image in images], dtype=np.int64),
        )
        request = {"model": str(model.resolve()), "inputs": str(inputs), "outputs": str(outputs)}
        self._wait(json.dumps(request) + "\n")
        if self._process.returncode != 0 or not outputs.is_file():
            raise GateError(
                "The exported model does not run in a fresh process with its runtime alone "
                f"({self.runtime}): {self._last_words()}",
                hint="nothing was exported; if it happens again, report it with this message",
            )
        with np.load(outputs) as found:
            return dict(found)

    def _wait(self, request: str) -> None:
        try:
            self._process.communicate(request, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise GateError(
                f"The exported model gave no answer within {PATIENCE:.0f} s in a fresh process."
            ) from error

    def _last_words(self) -> str:
        """Return the last line that the child said, which is its error if it has raised one."""
        lines = self._said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"


def start_child(runtime: Runtime, said: IO[bytes]) -> subprocess.Popen[str]:
    """Start the child; it waits for a request on stdin and writes all it says into ``said``."""
    return subprocess.Popen(
        [sys.executable, str(CHILD), runtime],
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
    )


def environment() -> dict[str, str]:
    """Return the child's environment variables."""
    # The parent has taken the memory of every GPU, and servers mostly run on the CPU.
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
