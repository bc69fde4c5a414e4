"""Version folders as TensorFlow Serving reads them: made whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tltool.errors import UsageError
from tltool.export.seal import SEAL_FILE
from tltool.runs.durable import flush

STAGING_PREFIX = ".tltool-export-"
_SIGNS = ("saved_model.pb", "model.tflite", "model.onnx", "model.keras", str(SEAL_FILE))
ABANDONED_AFTER = 24 * 3600.0  # seconds; no export takes that long


def versions(base_dir: Path) -> list[int]:
    """Return the numbers of the version folders in ``base_dir``, ascending."""
    if not base_dir.is_dir():
        return []
    names = (entry.name for entry in base_dir.iterdir() if entry.is_dir())
    return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]*", name))


def check_base(base_dir: Path) -> None:
    """Refuse a folder whose numbered folders are something else than versions of a model.

    Raises:
        UsageError: it is one.
    """
    for number in versions(base_dir):
        folder = base_dir / str(number)
        if not any((folder / name).is_file() for name in _SIGNS):
            raise UsageError(
                f"'{folder}' is no version of a model, and versions would be written beside it",
                hint="choose another folder with --out, or --export-to of `tltool finetune`",
            )


@contextmanager
def staging(base_dir: Path) -> Iterator[Path]:
    """Give a path in ``base_dir`` to write a version to; whatever is left there is removed.

    Args:
        base_dir: made if absent, and removed again if nothing was published into it.

    Yields:
        A path that does not exist yet, on the same file system as the version folders.

    Raises:
        OSError: the folder cannot be made.
    """
    made = _make(base_dir)
    _remove_abandoned(base_dir)
    try:
        # mkdtemp's folder is private; the one inside it gets the permissions a server needs.
        folder = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=base_dir))
        try:
            yield folder / "model"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        for parent in made:
            with suppress(OSError):  # not empty: something was published
                parent.rmdir()


def check_unused(base_dir: Path, version: int) -> None:
    """Refuse a version number that is taken.

    Raises:
        UsageError: it is.
    """
    if (base_dir / str(version)).exists():
        raise UsageError(
            f"version {version} exists: '{base_dir / str(version)}'",
            hint="versions are never overwritten; --version auto takes the next number",
        )


def publish(staged: Path, base_dir: Path, version: int | None = None) -> Path:
    """Give what was ``staged`` a version number, in one step that survives a power cut.

    Args:
        staged: the whole version.
        base_dir: the folder of the versions.
        version: the number; by default the one after the highest.

    Returns:
        The version folder.

    Raises:
        UsageError: the version exists.
        OSError: it cannot be written.
    """
    for path in (staged, *staged.rglob("*")):
        flush(path)
    while True:
        if version is not None:
            check_unused(base_dir, version)
        number = version or max(versions(base_dir), default=0) + 1
        target = base_dir / str(number)
        try:
            staged.rename(target)
        except OSError:
            if not target.exists():
                raise
            continue  # another export took the number in this moment
        flush(base_dir)
        return target


def prune(base_dir: Path, keep: int, *, never: Path) -> list[Path]:
    """Remove all versions but the ``keep`` newest, by number; folders without a seal stay.

    Args:
        base_dir: the folder of the versions.
        keep: how many stay.
        never: a version that stays in any case: the one just made.

    Returns:
        The folders that are gone.

    Raises:
        OSError: one cannot be removed.
    """
    sealed = [n for n in versions(base_dir) if (base_dir / str(n) / SEAL_FILE).is_file()]
    old = [base_dir / str(number) for number in sealed[:-keep]]
    gone = [folder for folder in old if folder != never]
    for folder in gone:
        hidden = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=base_dir)) / "model"
        folder.rename(hidden)  # in one step: no server sees half a version
        shutil.rmtree(hidden.parent)
    return gone


def _make(folder: Path) -> list[Path]:
    """Make ``folder``; return the folders that were absent, the deepest first."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return absent


def _remove_abandoned(base_dir: Path) -> None:
    """Remove what an export left that was killed by force a day ago or more."""
    for folder in base_dir.glob(f"{STAGING_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
