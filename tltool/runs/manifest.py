"""manifest.json: data, weights, settings and environment of a run, for reproducing it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tltool.errors import DataError
from tltool.runs.durable import write_durably
from tltool.runs.json_text import from_json, to_json
from tltool.runs.run_options import RunOptions

FORMAT = 1
_DIGEST = "manifest_digest"
_ENVIRONMENT = (
    "versions", "lock_digest", "machine", "flags", "git_commit", "tltool_commit", "container",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is recorded of a run. None stands for what is not known yet, or does not exist.

    Attributes:
        name: of the recipe.
        status: running, finished or failed; a running one may have been killed.
        started: UTC, as 2026-01-31T23:59:59Z.
        recipe_digest: SHA-256 over all settings.
        options: what the run was called with.
        versions: of Python and of the packages that decide the numbers.
        lock_digest: SHA-256 over all installed packages.
        machine: system, processor, cores.
        flags: environment variables that decide the numbers.
        git_commit: of the working folder.
        tltool_commit: of tltool itself, when it is no installed wheel.
        container: the container image.
        seed: of everything random.
        device: devices and arithmetic, for the user.
        gpus: names, driver and CUDA version of the GPUs in use.
        data_digest: SHA-256 over contents and labels of the images.
        images: how many.
        test_digest: SHA-256 over the contents of the test images; None without a test set.
        weights: source, digest and licence of the weights before training.
        weights_digest: SHA-256 over the network before training.
        backbone: its name and preprocessing.
        cached: whether the phases trained on cached features.
        augmentation: policy, reason and list of changes.
        class_weights: weight of each class in the loss.
        data_wait: share of the time that was spent waiting for images, by phase.
        model_digest: SHA-256 over the network after training.
        export: folder of the exported model.
        seconds: wall seconds by phase.
    """

    name: str
    status: Literal["running", "finished", "failed"]
    started: str
    recipe_digest: str
    options: RunOptions
    versions: Mapping[str, str]
    lock_digest: str
    machine: Mapping[str, Any]
    flags: Mapping[str, str]
    git_commit: str | None = None
    tltool_commit: str | None = None
    container: str | None = None
    seed: int | None = None
    device: str | None = None
    gpus: Mapping[str, Any] | None = None
    data_digest: str | None = None
    images: int | None = None
    test_digest: str | None = None
    weights: Mapping[str, Any] | None = None
    weights_digest: str | None = None
    backbone: Mapping[str, Any] | None = None
    cached: bool | None = None
    augmentation: Mapping[str, str] | None = None
    class_weights: Mapping[str, float] | None = None
    data_wait: Mapping[str, float] | None = None
    model_digest: str | None = None
    export: str | None = None
    seconds: Mapping[str, float] | None = None

    @property
    def environment(self) -> dict[str, Any]:
        """What `tltool.runs.environment.environment` returned when the run began."""
        return {name: getattr(self, name) for name in _ENVIRONMENT}

    def to_json(self) -> dict[str, Any]:
        """Return the document of manifest.json; what is None is left out."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        document["options"] = self.options.to_json()
        return {name: value for name, value in document.items() if value is not None}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write ``manifest`` with a digest of itself, whole or not at all."""
    document = {"format": FORMAT, **manifest.to_json()}
    document[_DIGEST] = _digest(document)
    write_durably(path, f"{to_json(document)}\n".encode())


def read_manifest(path: Path) -> Manifest:
    """Return what ``write_manifest`` wrote.

    Raises:
        DataError: there is none, it was changed by hand, or it is of a later tltool.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"'{path.parent}' holds no run: {path.name} cannot be read ({error.strerror})",
            hint="give the folder of a run; `tltool runs list` names them",
        ) from None
    return _parse(data, path)


def _parse(data: bytes, path: Path) -> Manifest:
    try:
        document = dict(from_json(data))
    except (ValueError, TypeError):
        raise _not_a_manifest(path) from None
    if document.get("format") != FORMAT:
        raise DataError(
            f"'{path}' is of format {document.get('format')}, this tltool reads {FORMAT}",
            hint=f"use the tltool that wrote it ({_writer(document)})",
        )
    digest = document.pop(_DIGEST, None)
    if digest != _digest(document):
        raise DataError(
            f"'{path}' was changed after the run wrote it: its digest does not fit",
            hint="restore the file; what it says can no longer be trusted",
        )
    del document["format"]
    try:
        options = RunOptions.from_json(document.pop("options"))
        return Manifest(**document, options=options)
    except (KeyError, TypeError):
        raise _not_a_manifest(path) from None


def _not_a_manifest(path: Path) -> DataError:
    return DataError(f"'{path}' is no manifest of a run", hint="restore it from a copy")


def _writer(document: Mapping[str, Any]) -> str:
    versions = document.get("versions")
    version = versions.get("tltool") if isinstance(versions, dict) else None
    return f"version {version}" if version else "a later version"


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
