"""How far a run has come: one file, written whole after every epoch, the old one removed after."""

from __future__ import annotations

import errno
import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import DataError, EnvironmentProblem
from tltool.runs.durable import flush

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


class StateFolder:
    """The folder that holds the newest state of one run.

    Args:
        folder: made when the first state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: RunState) -> None:
        """Write ``state``, wait until it is on disk, and only then remove the one before.

        Raises:
            EnvironmentProblem: the disk is full; the state before is kept.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        before = self._saved()
        number = before[-1][0] + 1 if before else 1
        beside = self._folder / ".state.new"
        text = json.dumps({"format": FORMAT, **state.document}).encode()
        try:
            with beside.open("wb") as file:
                arrays = {**state.arrays, _DOCUMENT: np.frombuffer(text, np.uint8)}
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._folder / f"state-{number:06d}.npz")
            flush(self._folder)
        except OSError as error:
            beside.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _disk_full(self._folder, state) from None
            raise
        for _, path in before:
            path.unlink(missing_ok=True)

    def load(self) -> RunState | None:
        """Return the newest whole state, or None when none was saved.

        Raises:
            DataError: it was written by a later tltool, or none is whole.
        """
        saved = self._saved()
        for _, path in reversed(saved):
            try:
                return _read(path)
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                continue
        if saved:
            raise DataError(
                f"the saved state '{saved[-1][1]}' is damaged",
                hint="start the run again, in another folder",
            )
        return None

    def _saved(self) -> list[tuple[int, Path]]:
        if not self._folder.is_dir():
            return []
        matches = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        return sorted((int(match[1]), path) for match, path in matches if match)


def _read(path: Path) -> RunState:
    with np.load(path, allow_pickle=False) as file:
        document = json.loads(file[_DOCUMENT].tobytes())
        if document.pop("format") != FORMAT:
            raise DataError(
                f"'{path}' was written by another version of tltool, which this one cannot read",
                hint="resume with the tltool that started the run; its manifest.json names it",
            )
        return RunState(document, {name: file[name] for name in file.files if name != _DOCUMENT})


def _disk_full(folder: Path, state: RunState) -> EnvironmentProblem:
    size = sum(array.nbytes for array in state.arrays.values())
    return EnvironmentProblem(
        f"the disk of '{folder}' has no room for the run's state ({size / 2**20:.0f} MiB)",
        hint="free some space there",
    )
