"""Export a trained run to one or several formats; all pass the acceptance gate or none appears."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import Artifact, load_artifact
from tltool.events import Observer, SilentObserver
from tltool.export.acceptance import (
    COLUMNS,
    FormatComparison,
    GateSamples,
    compare_format,
    raise_gate_failures,
)
from tltool.export.convert import write_converted
from tltool.export.disk import check_space, explain_disk_errors
from tltool.export.export_formats import ExportFormat, parse_formats
from tltool.export.fresh_process import FreshProcess
from tltool.export.golden import GOLDEN_ASSET, Golden
from tltool.export.model_folder import exportable_run
from tltool.export.saved_model import Contents, check_shapes, write_saved_model
from tltool.export.seal import write_seal
from tltool.export.verify import verify_export
from tltool.export.versions import check_base, check_unused, prune, publish, staging
from tltool.recipe.load import load_recipe
from tltool.runs.environment import versions
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.training.own_settings import with_own_settings
from tltool.workflows.export_samples.parity_samples import (
    ParitySamples,
    export_contents,
    make_parity_samples,
)
from tltool.workflows.export_samples.reference_of_run import with_reference
from tltool.workflows.export_samples.run_images import RunImages, load_run_images


@dataclass(frozen=True)
class ExportResult:
    """The exported formats.

    Attributes:
        folders: the version folder of each format.
        comparisons: how each format compares with the trained model, in the same order.
        pruned: old versions that were removed.
    """

    folders: Sequence[Path]
    comparisons: Sequence[FormatComparison]
    pruned: Sequence[Path]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        pairs = zip(self.folders, self.comparisons, strict=True)
        return {
            "exports": [{"path": str(folder), **one.to_json()} for folder, one in pairs],
            "pruned": [str(folder) for folder in self.pruned],
        }


@dataclass(frozen=True)
class _Staged:
    export_format: ExportFormat
    base_dir: Path
    folder: Path


@with_own_settings
def export(
    run: Path | str,
    formats: str = "saved_model",
    *,
    out: Path | str = Path("saved_models"),
    version: int | None = None,
    max_drop: float = 0.01,
    keep: int | None = None,
    data: Path | str | None = None,
    observer: Observer | None = None,
) -> ExportResult:
    """Write <out>/<name>/<version>/, or <out>/<name>-<format>/<version>/ for other formats.

    Every format predicts the run's validation images in a fresh process with its own runtime. If
    one format fails the gate, nothing is exported.

    Args:
        run: the folder of a finished run, or its model.keras.
        formats: names of ``tltool.export.export_formats``, separated by commas.
        out: the folder of the models.
        version: version number of every format; by default the next free one of each.
        max_drop: largest drop in validation accuracy allowed.
        keep: how many versions to keep; by default all.
        data: the new location of the run's images, or other images of the same classes.
        observer: receives progress events.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.

    Examples:
        >>> (folder,) = tltool.load("runs/photos").export("keras").folders
        >>> sorted(path.name for path in folder.iterdir())
        ['assets', 'assets.extra', 'model.keras']
    """
    observer = observer or SilentObserver()
    requested = parse_formats(formats)
    out = Path(out)
    run = exportable_run(Path(run))
    observer.on_phase("model", str(run))
    artifact = load_artifact(run)
    name = artifact.description.name
    base_dirs = [out / one.folder(name) for one in requested]
    for base_dir in base_dirs:
        check_base(base_dir)
        if version is not None:
            check_unused(base_dir, version)
    with ExitStack() as stack:
        with explain_disk_errors(out):
            staged = [
                _Staged(one, base_dir, stack.enter_context(staging(base_dir)))
                for one, base_dir in zip(requested, base_dirs, strict=True)
            ]
        observer.on_phase("images")
        calibrate = any(one.name == "litert-int8" for one in requested)
        images = load_run_images(RunLayout(run), artifact.description, data, calibrate=calibrate)
        if images.calibration is not None:
            observer.on_message(f"8-bit ranges from {len(images.calibration)} training images")
        observer.on_phase("reference", f"{len(images.images)} images")
        artifact = with_reference(artifact, images, read_manifest(RunLayout(run).manifest))
        samples = make_parity_samples(artifact, images.images)
        contents = _contents(RunLayout(run), artifact, samples.golden)
        check_shapes(contents)
        with explain_disk_errors(out):
            comparisons = [
                _export_format(one, contents, samples, images, max_drop=max_drop, observer=observer)
                for one in staged
            ]
            if any(one.gate_failures for one in comparisons):
                observer.on_table("Parity", COLUMNS, [one.row() for one in comparisons])
            raise_gate_failures(comparisons)
            folders, pruned = _publish(staged, version, keep)
    return ExportResult(folders, comparisons, pruned)


def _publish(
    staged: Sequence[_Staged], version: int | None, keep: int | None
) -> tuple[list[Path], list[Path]]:
    """Return the version folders of all formats, and the old ones that were removed."""
    folders = [publish(one.folder, one.base_dir, version) for one in staged]
    pruned = [
        removed
        for one, folder in zip(staged, folders, strict=True)
        for removed in (prune(one.base_dir, keep, never=folder) if keep else ())
    ]
    return folders, pruned


@with_own_settings
def check(path: Path | str, *, observer: Observer | None = None) -> dict[str, Any]:
    """Verify an existing export; see ``verify_export``."""
    observer = observer or SilentObserver()
    observer.on_phase("check", str(path))
    return verify_export(Path(path))


def _contents(run: RunLayout, artifact: Artifact, golden: Golden) -> Contents:
    manifest = read_manifest(run.manifest).to_json()
    facts = {**manifest, "run": run.folder.resolve().name, **versions()}
    return export_contents(artifact, golden, recipe=load_recipe(str(run.recipe)), facts=facts)


def _export_format(
    staged: _Staged,
    contents: Contents,
    samples: ParitySamples,
    images: RunImages,
    *,
    max_drop: float,
    observer: Observer,
) -> FormatComparison:
    """Write one format into its staging folder, compare it with the trained model, and seal it."""
    export_format, folder = staged.export_format, staged.folder
    observer.on_phase(export_format.name)
    labels = np.full(len(samples.images), -1, np.int64)
    labels[: len(images.labels)] = images.labels  # smaller copies of golden images follow
    gate_samples = GateSamples(
        samples.images, samples.arrays, labels, samples.expected, ood_scores=samples.ood_scores
    )
    is_saved_model = export_format.name == "saved_model"
    with FreshProcess(export_format.runtime) as child:
        if is_saved_model:
            write_saved_model(contents, folder, staged.base_dir)
        else:
            _write_converted(staged, contents, images.calibration)
        comparison = compare_format(
            folder, export_format, gate_samples, max_drop=max_drop, child=child
        )
    if not is_saved_model:
        positions = [samples.images.index(image) for image in samples.golden.images]
        golden = Golden(samples.golden.images, comparison.probabilities[positions])
        (folder / "assets" / GOLDEN_ASSET).write_bytes(golden.to_bytes())
    write_seal(folder, {"format": export_format.name, "gate": comparison.to_json()})
    observer.on_phase_end(failed=bool(comparison.gate_failures))
    return comparison


def _write_converted(staged: _Staged, contents: Contents, calibration: np.ndarray | None) -> None:
    check_space(staged.base_dir, contents.model.variables)
    assets = staged.folder / "assets"
    assets.mkdir(parents=True)
    for name, document in contents.documents().items():
        (assets / name).write_bytes(document)
    write_converted(
        staged.folder / staged.export_format.file,
        staged.export_format,
        contents.model,
        temperature=contents.temperature,
        calibration=calibration,
        class_names=contents.class_names,
        facts=contents.metadata,
    )
