"""The local store of weights: one file and one sidecar ``NAME.json`` for each backbone."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tltool.errors import EnvironmentProblem
from tltool.runs.digests import file_digest
from tltool.runs.lock import waiting_lock
from tltool.runs.user_cache import user_cache
from tltool.storage.durable import flush, remove_unfinished, write_durably

_PARTIAL = ".partial-"
_STALE_SECONDS = 24 * 3600.0
_DIGEST_IN_NAME = 12
_DIGEST_PATTERN = "[0-9a-f]" * _DIGEST_IN_NAME


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """A stored weights file with its source, licence and digest."""

    name: str
    path: Path
    source: str
    licence: str
    sha256: str
    date: str
    size: int


def weights_dir() -> Path:
    """Return the folder of the store: ``TLTOOL_WEIGHTS_DIR``, else in the user's cache."""
    return user_cache("weights", variable="TLTOOL_WEIGHTS_DIR")


def find(name: str) -> StoredWeights | None:
    """Return the stored weights called ``name``, or None; the file's size is checked.

    Raises:
        EnvironmentProblem: the file is missing or truncated, or its sidecar is unreadable.
    """
    stored = _read_sidecar(name)
    while stored is not None and not _is_whole(stored):
        again = _read_sidecar(name)  # another process may have just replaced the weights
        if again == stored:
            raise damaged(name, stored.path)
        stored = again
    return stored


def verify(stored: StoredWeights) -> None:
    """Check the digest of the file; raise EnvironmentProblem when it has changed."""
    try:
        intact = file_digest(stored.path) == stored.sha256
    except FileNotFoundError:
        intact = False
    if not intact:
        raise damaged(stored.name, stored.path)


def listing() -> tuple[StoredWeights, ...]:
    """Return all stored weights of intact size, sorted by name."""
    entries = []
    for sidecar in sorted(weights_dir().glob("*.json")):
        try:
            stored = find(sidecar.stem)
        except EnvironmentProblem:
            continue
        entries += [stored] if stored else []
    return tuple(entries)


def add(name: str, file: Path, *, source: str, licence: str) -> StoredWeights:
    """Copy ``file`` into the store as ``name``, replacing an older file atomically.

    The stored file's name carries its digest and the sidecar is replaced last, so a reader, or a
    crash at any moment, sees either the old pair or the new one. One process at a time changes the
    store; on a disk without file locks the old file is kept, because another process may use it.

    Raises:
        EnvironmentProblem: the folder cannot be written or the disk is full.
    """
    with partial_folder() as folder:
        copy = folder / file.name
        shutil.copyfile(file, copy)
        digest = file_digest(copy)
        target = weights_dir() / f"{name}-{digest[:_DIGEST_IN_NAME]}{_suffix(file)}"
        stored = StoredWeights(
            name=name,
            path=target,
            source=source,
            licence=licence,
            sha256=digest,
            date=datetime.now(UTC).date().isoformat(),
            size=copy.stat().st_size,
        )
        flush(copy)
        with waiting_lock(weights_dir()) as alone:
            copy.replace(target)
            flush(weights_dir())
            _write_sidecar(stored)
            if alone:
                _remove_others(stored)
    return stored


@contextmanager
def partial_folder() -> Iterator[Path]:
    """Yield a temporary folder beside the stored files, removed afterwards in every case.

    Raises:
        EnvironmentProblem: an operation inside failed for lack of space or permission.
    """
    home = weights_dir()
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=home) as folder:
            yield Path(folder)
    except OSError as error:
        raise EnvironmentProblem(
            f"Weights cannot be stored in {home}: {error.strerror or error}.",
            hint="free some space there, or set TLTOOL_WEIGHTS_DIR to another folder",
        ) from error


def damaged(name: str, path: Path) -> EnvironmentProblem:
    """Return the error for a damaged stored file."""
    return EnvironmentProblem(
        f"The stored weights of {name} are damaged ({path}).",
        hint=f"fetch them again with: tltool weights pull {name}",
    )


def _sidecar(name: str) -> Path:
    return weights_dir() / f"{name}.json"


def _read_sidecar(name: str) -> StoredWeights | None:
    sidecar = _sidecar(name)
    try:
        entry = json.loads(sidecar.read_text("utf-8"))
        entry["path"] = weights_dir() / entry.pop("file")
        return StoredWeights(**entry)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(name, sidecar) from error


def _is_whole(stored: StoredWeights) -> bool:
    try:
        return stored.path.stat().st_size == stored.size
    except OSError:
        return False


def _write_sidecar(stored: StoredWeights) -> None:
    entry = asdict(stored)
    entry["file"] = entry.pop("path").name
    write_durably(_sidecar(stored.name), f"{json.dumps(entry, indent=2)}\n".encode())


def _remove_others(stored: StoredWeights) -> None:
    """Remove older files of the same name, and what was left by a kill."""
    for old in weights_dir().glob(f"{stored.name}-{_DIGEST_PATTERN}.*"):
        if old != stored.path:
            old.unlink(missing_ok=True)
    remove_unfinished(weights_dir())


def _suffix(file: Path) -> str:
    return ".weights.h5" if file.name.endswith(".weights.h5") else file.suffix


def _sweep(home: Path) -> None:
    # A killed process cannot clean up: the next download does, a day later.
    for leftover in home.glob(f"{_PARTIAL}*"):
        with suppress(OSError):  # another process may have just removed it
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
