"""How far a run has come: a file, written whole after every epoch; the one before it is kept.

The file is written in a thread, while the next epoch is trained: the state of a large network takes
seconds to write.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import DataError, EnvironmentProblem, reading
from tltool.runs.npz_file import read_arrays
from tltool.storage.durable import remove_unfinished, replaced_file

FORMAT = 1
_NAME = re.compile(r"state-(\d{6,})\.npz")
_DOCUMENT = "document"


@dataclass(frozen=True)
class RunState:
    """What must be known to go on.

    Attributes:
        document: numbers and texts, JSON-ready; infinities are allowed.
        arrays: weights and the like, by name.
    """

    document: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


class _OtherVersion(DataError):
    """The newest state is whole; an older one must not replace it."""


class StateFolder:
    """The folder that holds the newest states of one run: the last one and the one before it.

    Args:
        folder: made when the first state is saved.

    Examples:
        >>> folder.save(RunState({"epoch": 1}, {"kernel": kernel}))
        >>> folder.wait()
        >>> folder.load().document["epoch"]
        1
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damaged: tuple[Path, ...] = ()
        """Files that ``load`` could not read, if it returned the state before them."""
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def save(self, state: RunState) -> None:
        """Begin to write ``state``.

        A crash or a power cut leaves the state before. At most one state is being written: this
        waits for the one before. The arrays must not be changed afterwards.

        Raises:
            EnvironmentProblem: the disk is full for the state before; that before it is kept.
        """
        self.wait()
        text = json.dumps({"format": FORMAT, **state.document}).encode()
        self._thread = self._thread or ThreadPoolExecutor(1, "run-state")
        self._writing = self._thread.submit(self._write, RunState({}, dict(state.arrays)), text)

    def wait(self) -> None:
        """Wait until the saved state is on disk.

        Raises:
            EnvironmentProblem: the disk is full; the state before is kept.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, state: RunState, text: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self._folder)  # of a process that was killed; this one holds the lock
        before = self._saved()
        number = before[-1][0] + 1 if before else 1
        for _, path in before[:-1]:
            path.unlink(missing_ok=True)
        try:
            arrays = {**state.arrays, _DOCUMENT: np.frombuffer(text, np.uint8)}
            path = self._folder / f"state-{number:06d}.npz"
            with replaced_file(path) as part, part.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _disk_full(self._folder, state) from None
            raise

    def load(self) -> RunState | None:
        """Return the newest whole state, or None when none was saved.

        Raises:
            EnvironmentProblem: the disk is full for a state that is being written.
            DataError: it was written by another version of tltool, or none is whole.
        """
        self.wait()
        saved, problems = self._saved(), list[DataError]()
        for _, path in reversed(saved):
            try:
                with reading(path, "saved state", hint="start the run again, in another folder"):
                    state = _read(path)
            except DataError as error:
                if isinstance(error, _OtherVersion):
                    raise
                problems.append(error)
                continue
            self.damaged = tuple(path for _, path in saved[len(saved) - len(problems) :])
            return state
        if problems:
            raise problems[0]
        return None

    def _saved(self) -> list[tuple[int, Path]]:
        if not self._folder.is_dir():
            return []
        matches = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        return sorted((int(match[1]), path) for match, path in matches if match)


def _read(path: Path) -> RunState:
    arrays = read_arrays(path)
    document = json.loads(arrays.pop(_DOCUMENT).tobytes())
    if document.pop("format") != FORMAT:
        raise _OtherVersion(
            f"'{path}' was written by another version of tltool, which this one cannot read",
            hint="resume with the tltool that started the run; its manifest.json names it",
        )
    return RunState(document, arrays)


def _disk_full(folder: Path, state: RunState) -> EnvironmentProblem:
    size = sum(array.nbytes for array in state.arrays.values())
    return EnvironmentProblem(
        f"the disk of '{folder}' has no room for the run's state ({size / 2**20:.0f} MiB)",
        hint="free some space there",
    )
