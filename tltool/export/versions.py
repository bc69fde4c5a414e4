"""Numbered version folders as TensorFlow Serving reads them, published in one atomic step."""

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
from tltool.storage.durable import flush

STAGING_PREFIX = ".tltool-export-"
_MODEL_FILES = ("saved_model.pb", "model.tflite", "model.onnx", "model.keras", str(SEAL_FILE))
ABANDONED_AFTER = 24 * 3600.0  # seconds; no export takes that long


def versions(base_dir: Path) -> list[int]:
    """Return the numbers of the version folders in ``base_dir``, ascending."""
    if not base_dir.is_dir():
        return []
    names = (entry.name for entry in base_dir.iterdir() if entry.is_dir())
    return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]*", name))


def check_base(base_dir: Path) -> None:
    """Check that all numbered folders in ``base_dir`` are versions of a model.

    Raises:
        UsageError: one is not.
    """
    for number in versions(base_dir):
        folder = base_dir / str(number)
        if not any((folder / name).is_file() for name in _MODEL_FILES):
            raise UsageError(
                f"'{folder}' is not a version of a model, and versions would be written beside it",
                hint="choose another folder with --out, or --export-to of `tltool finetune`",
            )


@contextmanager
def staging(base_dir: Path) -> Iterator[Path]:
    """Give a path in ``base_dir`` to write a version to; it is removed unless published.

    Args:
        base_dir: created if absent, and removed again if nothing was published into it.

    Yields:
        A path that does not exist yet, on the same file system as the version folders.

    Raises:
        OSError: the folder cannot be created.
    """
    created = _create(base_dir)
    _remove_abandoned(base_dir)
    try:
        # mkdtemp's folder is private; a folder inside it gets the permissions a server needs.
        folder = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=base_dir))
        try:
            yield folder / "model"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        for parent in created:
            with suppress(OSError):  # not empty: something was published
                parent.rmdir()


def check_unused(base_dir: Path, version: int) -> None:
    """Check that a version number is free.

    Raises:
        UsageError: the version exists.
    """
    if (base_dir / str(version)).exists():
        raise UsageError(
            f"version {version} exists: '{base_dir / str(version)}'",
            hint="versions are never overwritten; --version auto takes the next number",
        )


def publish(staged: Path, base_dir: Path, version: int | None = None) -> Path:
    """Move ``staged`` to its version folder, in one step that survives a power failure.

    Args:
        staged: the complete version.
        base_dir: the folder of the versions.
        version: the number; by default the highest existing number plus 1.

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
            continue  # another export has just taken the number
        flush(base_dir)
        return target


def prune(base_dir: Path, keep: int, *, never: Path) -> list[Path]:
    """Remove all versions except the ``keep`` newest; folders without a seal stay.

    Args:
        base_dir: the folder of the versions.
        keep: how many versions stay.
        never: a version that stays in any case: the one just exported.

    Returns:
        The removed folders.

    Raises:
        OSError: one cannot be removed.
    """
    sealed = [n for n in versions(base_dir) if (base_dir / str(n) / SEAL_FILE).is_file()]
    old = [base_dir / str(number) for number in sealed[:-keep]]
    removed = [folder for folder in old if folder != never]
    for folder in removed:
        hidden = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=base_dir)) / "model"
        folder.rename(hidden)  # in one step: no server sees half a version
        shutil.rmtree(hidden.parent)
    return removed


def _create(folder: Path) -> list[Path]:
    """Create ``folder``; return the folders that were absent, the deepest first."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return absent


def _remove_abandoned(base_dir: Path) -> None:
    """Remove the staging folders of exports that were killed more than a day ago."""
    for folder in base_dir.glob(f"{STAGING_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
