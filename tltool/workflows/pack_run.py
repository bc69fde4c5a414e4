"""One file of everything that someone else needs to reproduce a run, except the images."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tltool.data.sources.archives.extraction_target import CHUNK
from tltool.data.sources.archives.tar_stream import BoundedReader
from tltool.errors import DataError, EnvironmentProblem, GateError, UsageError, reading
from tltool.runs.digests import describe_changes, size_and_digest
from tltool.runs.environment import installed
from tltool.runs.layout import (
    CALIBRATION_FILE,
    DESCRIPTION_FILE,
    MODEL_FILE,
    SEAL_FILE,
    RunLayout,
)
from tltool.runs.manifest import read_manifest
from tltool.runs.temporary import is_disk_full, temporary_folder, temporary_problem
from tltool.storage.durable import new_file

LOCK_FILE = "packages.txt"
DIGESTS_FILE = "digests.json"
_MAX_BYTES = 4 * 2**30  # what is unpacked; no run without images is larger
_MAX_FILES = 1000


def pack(folder: Path, file: Path | None = None, *, model: bool = False) -> Path:
    """Write recipe, manifest, split, metrics and installed packages of a run into one tar.gz.

    A backbone of the user's own is packed too.

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
    members += [path for path in (run.corrections,) if path.is_file()]
    members += _files(run.backbone)
    if model:
        members += [folder / MODEL_FILE, folder / DESCRIPTION_FILE]
        newer = [folder / CALIBRATION_FILE, folder / SEAL_FILE]  # older runs do not have them
        members += [path for path in newer if path.is_file()]
    if os.path.lexists(target):
        raise UsageError(f"'{target}' exists", hint="give another name with --out")
    try:
        with (
            new_file(target) as part,
            part.open("wb") as raw,
            gzip.GzipFile(target.name.removesuffix(".gz"), "wb", fileobj=raw) as compressed,
            tarfile.open(fileobj=compressed, mode="w") as tar,
        ):
            digests = {}
            for path in members:
                name = path.relative_to(folder).as_posix()
                tar.add(path, arcname=name)
                digests[name] = size_and_digest(path)
            _add_text(tar, LOCK_FILE, "\n".join(installed()) + "\n")
            _add_text(tar, DIGESTS_FILE, json.dumps({"files": digests}, indent=2) + "\n")
    except OSError as error:
        raise EnvironmentProblem(f"'{target}' cannot be written: {error.strerror}") from None
    return target


@contextmanager
def open_packed_run(source: Path) -> Iterator[RunLayout]:
    """Yield a run folder: ``source`` itself, or what a file of ``pack`` holds, unpacked meanwhile.

    Raises:
        DataError: ``source`` is neither, or damaged.
        GateError: a file in it has changed since it was packed.
        EnvironmentProblem: there is no space for temporary files.
    """
    if source.is_dir():
        yield RunLayout(source)
        return
    with temporary_folder("tltool-run-") as folder:
        _unpack(source, folder)
        yield RunLayout(folder)


def _unpack(source: Path, folder: Path) -> None:
    hint = "give a run folder, or a file of `tltool runs pack`"
    if not source.exists():
        raise missing_run(source)
    try:
        with reading(source, "packed run", hint=hint), gzip.open(source) as stream:
            _extract(source, BoundedReader(stream), folder)
    except DataError as error:
        if isinstance(error.__cause__, OSError) and is_disk_full(error.__cause__):
            raise temporary_problem(str(error.__cause__)) from None
        raise
    _check_digests(source, folder)


def _extract(source: Path, stream: BoundedReader, folder: Path) -> None:
    total = 0
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:") as tar:
        for count, member in enumerate(tar):
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
            if member.size < 0:
                raise ValueError("a file in it has a negative size")
            total += member.size
            if total > _MAX_BYTES or count >= _MAX_FILES:
                raise _too_large(source)
            if not member.isfile() or not _is_name_in_run(member.name):
                raise ValueError(f"it contains '{member.name}', which is no file of a run")
            _write_member(tar, member, folder)
    # tarfile stops without an error at a damaged header; the checksum is at the end of the stream
    while rest := stream.read(CHUNK):
        total += len(rest)
        if total > _MAX_BYTES:
            raise _too_large(source)


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write a regular file; its owner and permissions are those of a new file.

    The filter of `TarFile.extract` that does this is missing from Python 3.11.0 to 3.11.3.
    """
    path = folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # it is a regular file
    with path.open("wb") as target:
        shutil.copyfileobj(content, target, CHUNK)


def _too_large(source: Path) -> DataError:
    return DataError(f"'{source}' would unpack to more than 4 GiB: this is no run")


def _check_digests(source: Path, folder: Path) -> None:
    """Compare the unpacked files with their digests; files of older versions have none."""
    path = folder / DIGESTS_FILE
    if not path.is_file():
        return
    with reading(path, "list of digests", hint="pack the run again"):
        digests = dict(json.loads(path.read_text("utf-8"))["files"])
        damage = describe_changes(folder, digests, since="it was packed")
    known = {*digests, DIGESTS_FILE, LOCK_FILE}
    names = [path.relative_to(folder).as_posix() for path in _files(folder)]
    damage += [f"{name} was added" for name in names if name not in known]
    if damage:
        raise GateError(
            f"the packed run '{source}' is damaged: {'; '.join(damage)}",
            hint="get it again from its author",
        )


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder and in those below; none if it is absent."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_name_in_run(name: str) -> bool:
    """Whether a packed run may have a file of this name: none in a folder but its backbone."""
    return "/" not in name.removeprefix(f"{RunLayout(Path()).backbone.name}/")


def missing_run(source: Path) -> DataError:
    """Return the error about a run that does not exist."""
    return DataError(
        f"there is no run '{source}'", hint="give a run folder, or a file of `tltool runs pack`"
    )


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
