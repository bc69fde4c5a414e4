"""One file of everything that someone else needs to reproduce a run, except the images."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.runs.environment import installed
from tltool.runs.layout import CALIBRATION_FILE, DESCRIPTION_FILE, MODEL_FILE, RunLayout
from tltool.runs.manifest import read_manifest

LOCK_FILE = "packages.txt"
_MAX_BYTES = 4 * 2**30  # what is unpacked; no run without images is larger


def pack(folder: Path, file: Path | None = None, *, model: bool = False) -> Path:
    """Write recipe, manifest, split, metrics and installed packages of a run into one tar.gz.

    Args:
        folder: the run folder.
        file: what to write; by default <run folder>.tar.gz. It must not exist.
        model: pack the trained model too.

    Returns:
        The file.

    Raises:
        DataError: the folder holds no run.
        UsageError: the run is not finished, or ``file`` exists.
        EnvironmentProblem: it cannot be written.
    """
    run = RunLayout(folder)
    if read_manifest(run.manifest).status != "finished":
        raise UsageError(f"the run '{folder}' is not finished", hint=f"tltool runs resume {folder}")
    target = file or folder.absolute().with_name(folder.absolute().name + ".tar.gz")
    members = [run.recipe, run.manifest, run.split, run.metrics, run.history, run.predictions]
    if model:
        members += [folder / MODEL_FILE, folder / DESCRIPTION_FILE]
        members += [path for path in [folder / CALIBRATION_FILE] if path.is_file()]  # newer runs
    try:
        with target.open("xb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as tar:
            for path in members:
                tar.add(path, arcname=path.name)
            _add_text(tar, LOCK_FILE, "\n".join(installed()) + "\n")
    except FileExistsError:
        raise UsageError(f"'{target}' exists", hint="give another name with --out") from None
    except OSError as error:
        raise EnvironmentProblem(f"'{target}' cannot be written: {error.strerror}") from None
    return target


@contextmanager
def open_packed_run(source: Path) -> Iterator[RunLayout]:
    """Yield a run folder: ``source`` itself, or what a file of ``pack`` holds, unpacked meanwhile.

    Raises:
        DataError: ``source`` is neither.
    """
    if source.is_dir():
        yield RunLayout(source)
        return
    with tempfile.TemporaryDirectory(prefix="tltool-run-") as folder:
        _unpack(source, Path(folder))
        yield RunLayout(Path(folder))


def _unpack(source: Path, folder: Path) -> None:
    try:
        with tarfile.open(source) as tar:
            members = tar.getmembers()
            if sum(member.size for member in members) > _MAX_BYTES:
                raise DataError(f"'{source}' would unpack to more than 4 GiB: this is no run")
            tar.extractall(folder, members=members, filter="data")
    except FileNotFoundError:
        raise DataError(
            f"there is no run '{source}'", hint="give a run folder, or a file of `tltool runs pack`"
        ) from None
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"'{source}' is no packed run: {error}",
            hint="give a run folder, or a file of `tltool runs pack`",
        ) from None


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
