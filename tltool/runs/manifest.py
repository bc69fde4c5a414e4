"""manifest.json: data, weights, settings and environment of a run, for reproducing it."""

from __future__ import annotations

import collections.abc
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tltool.errors import DataError, UsageError, reading
from tltool.runs.json_text import from_json, to_json
from tltool.runs.run_options import RunOptions
from tltool.storage.durable import write_durably

FORMAT = 1
_DIGEST = "manifest_digest"
_ENVIRONMENT = (
    "versions", "lock_digest", "machine", "keras", "flags", "git_commit", "tltool_commit",
    "container",
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
        keras: backend, image data format, dtypes and epsilon; None in runs of older versions.
        flags: environment variables that decide the numbers.
        git_commit: of the working folder.
        tltool_commit: of tltool itself, when it is no installed wheel.
        container: the container image.
        seed: of everything random.
        device: devices and arithmetic, for the user.
        precision: arithmetic of the network: float32, bfloat16 or float16; None in runs of older
            versions.
        gpus: names, driver and CUDA version of the GPUs in use.
        data_digest: SHA-256 over contents and labels of the images.
        images: how many.
        corrections: the file of corrected labels with its ``sha256``, the numbers of corrected
            labels by split (``relabelled``), of images ``excluded``, and of decisions
            ``not_applied``; None without one.
        test_digest: SHA-256 over the contents of the test images; None without a test set.
        weights: source, digest and licence of the weights before training.
        weights_digest: SHA-256 over the network before training.
        backbone: its name and preprocessing.
        backbone_choice: with ``model.backbone: auto``, what was measured of which backbones, and
            why this one was chosen; the recipe of the run names it.
        cached: whether the phases trained on cached features.
        decoded: whether the phases trained on images that were decoded once; None with cached
            features.
        augmentation: policy, reason, list of changes, and where their pixels are computed.
        class_weights: weight of each class in the loss.
        probe_rows: number of training images that the linear probe was fitted on.
        data_wait: share of the time that was spent waiting for images, by phase.
        micro_batches: most images that were processed at once, by kind of work (features, head,
            finetune, predictions), where the memory was too small for whole batches.
        diverged: by phase the epochs whose loss was not finite; each halved the learning rate.
        time_limit: of a run with one: the ``seconds`` that it may take, those ``spent`` by training
            and all before it, those kept in ``reserve`` for evaluation and export, and, where the
            limit changed the run, the number of cached ``views`` and the phase and epoch after
            which training was ``stopped``; in a run that reproduces it, ``until`` is that epoch.
        cluster: the ``engine``, ``nodes``, ``workers`` and ``arithmetic`` of the processes that
            computed features; or ``ranks``, how many processes trained together; None without
            workers.
        peak_memory: largest memory of the process and of each GPU, MiB, and their names.
        gpu_utilisation: mean and maximum over the run, percent.
        refit: numbers of images and epochs of the refit; None without one.
        keras_objects: what a Python program gave to training beside the recipe: optimizer, loss,
            metrics, callbacks, augment; None for nothing.
        not_reproducible: why another run with the same settings may differ; None where it does not.
        adopted_from: of a run that adopted a network that was trained outside of tltool: the
            ``run`` whose network it was, and its ``model_digest``.
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
    keras: Mapping[str, Any] | None = None
    git_commit: str | None = None
    tltool_commit: str | None = None
    container: str | None = None
    seed: int | None = None
    device: str | None = None
    precision: str | None = None
    gpus: Mapping[str, Any] | None = None
    data_digest: str | None = None
    images: int | None = None
    corrections: Mapping[str, Any] | None = None
    test_digest: str | None = None
    weights: Mapping[str, Any] | None = None
    weights_digest: str | None = None
    backbone: Mapping[str, Any] | None = None
    backbone_choice: Mapping[str, Any] | None = None
    cached: bool | None = None
    decoded: bool | None = None
    augmentation: Mapping[str, str] | None = None
    class_weights: Mapping[str, float] | None = None
    probe_rows: int | None = None
    data_wait: Mapping[str, float] | None = None
    micro_batches: Mapping[str, int] | None = None
    diverged: Mapping[str, Sequence[int]] | None = None
    time_limit: Mapping[str, Any] | None = None
    peak_memory: Mapping[str, int] | None = None
    gpu_utilisation: Mapping[str, float] | None = None
    refit: Mapping[str, int] | None = None
    keras_objects: Mapping[str, Any] | None = None
    not_reproducible: str | None = None
    adopted_from: Mapping[str, str] | None = None
    cluster: Mapping[str, Any] | None = None
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
        UsageError: the run folder does not exist.
        DataError: there is none, it was changed by hand, or it is of a later tltool.
    """
    if not path.parent.exists():
        raise UsageError(
            f"there is no run '{path.parent}'",
            hint="give the folder of a run; `tltool runs list` names them",
        )
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
    with reading(path, "manifest", hint="restore it from a copy"):
        try:
            options = RunOptions.from_json(document.pop("options"))
            manifest = Manifest(**document, options=options)
        except (KeyError, TypeError):
            raise _not_a_manifest(path) from None
        for field, kind in get_type_hints(Manifest).items():
            _check_type(field, getattr(manifest, field), kind)
        return manifest


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Check a value of a document against a type such as ``Mapping[str, float] | None``.

    Raises:
        ValueError: it is another type.
    """
    options = get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)
    if not any(_is_of(value, option) for option in options):
        raise ValueError(f"its entry {name} is {type(value).__name__}")


def _is_of(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inner
    if origin is collections.abc.Mapping:
        return isinstance(value, dict) and all(_is_of(one, inner[1]) for one in value.values())
    if origin is collections.abc.Sequence:
        return isinstance(value, list) and all(_is_of(one, inner[0]) for one in value)
    if kind is float:
        return isinstance(value, int | float)
    return kind is Any or isinstance(value, kind)


def _not_a_manifest(path: Path) -> DataError:
    return DataError(f"'{path}' is no manifest of a run", hint="restore it from a copy")


def _writer(document: Mapping[str, Any]) -> str:
    versions = document.get("versions")
    version = versions.get("tltool") if isinstance(versions, dict) else None
    return f"version {version}" if version else "a later version"


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
