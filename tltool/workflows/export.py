"""Export a trained run to one format or several, each proved equal before any of them exists."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import Artifact, is_artifact, load_artifact
from tltool.errors import DataError, UsageError
from tltool.events import Observer, SilentObserver
from tltool.export.acceptance import COLUMNS, Figures, GateSamples, measure, refuse_any
from tltool.export.convert import write_converted
from tltool.export.disk import check_space, disk_problems_explained
from tltool.export.export_formats import ExportFormat, chosen_formats
from tltool.export.exported_model import version_folder
from tltool.export.fresh_process import FreshProcess
from tltool.export.golden import GOLDEN_ASSET, Golden
from tltool.export.saved_model import Contents, check_shapes, write_saved_model
from tltool.export.seal import write_seal
from tltool.export.verify import check_export
from tltool.export.versions import check_base, check_unused, prune, publish, staging
from tltool.recipe.load import load_recipe
from tltool.runs.environment import versions
from tltool.runs.layout import MODEL_FILE, RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.export_samples.parity_samples import Sample, contents_of, sample_of
from tltool.workflows.export_samples.run_images import ExportImages, find_images


@dataclass(frozen=True)
class ExportResult:
    """What was exported.

    Attributes:
        folders: the version folder of each format.
        figures: how each compares with the trained model, in the same order.
        pruned: old versions that were removed.
    """

    folders: Sequence[Path]
    figures: Sequence[Figures]
    pruned: Sequence[Path]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        pairs = zip(self.folders, self.figures, strict=True)
        return {
            "exports": [{"path": str(folder), **one.to_json()} for folder, one in pairs],
            "pruned": [str(folder) for folder in self.pruned],
        }


@dataclass(frozen=True)
class _Staged:
    known: ExportFormat
    base_dir: Path
    folder: Path


def export(
    run: Path | str,
    formats: str = "saved_model",
    *,
    out: Path = Path("saved_models"),
    version: int | None = None,
    max_drop: float = 0.01,
    keep: int | None = None,
    data: Path | str | None = None,
    observer: Observer | None = None,
) -> ExportResult:
    """Write <to>/<name>/<version>/, or <to>/<name>-<format>/<version>/ for other formats.

    Every format answers the run's validation images in a fresh process with its own runtime; all
    of them pass, or nothing appears.

    Args:
        run: the folder of a finished run, or the model.keras in it.
        formats: names of ``tltool.export.export_formats``, separated by commas.
        out: the folder of the models.
        version: of every format; by default each one's next.
        max_drop: largest drop of the accuracy on the validation part.
        keep: how many versions stay; by default all.
        data: where the images are, when they moved.
        observer: told about the progress.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.
    """
    observer = observer or SilentObserver()
    wanted = chosen_formats(formats)
    run = _checked_run(Path(run))
    observer.on_phase("model", str(run))
    artifact = load_artifact(run)
    name = artifact.description.name
    for known in wanted:
        check_base(out / known.folder(name))
        if version is not None:
            check_unused(out / known.folder(name), version)
    with ExitStack() as stack:
        with disk_problems_explained(out):
            staged = [_staged(known, out / known.folder(name), stack) for known in wanted]
        observer.on_phase("photos")
        calibrate = _calibrates(wanted)
        found = find_images(RunLayout(run), artifact.description, data, calibrate=calibrate)
        _tell_calibration(found, observer)
        observer.on_phase("reference", f"{len(found.images)} images")
        sample = sample_of(artifact, found.images)
        contents = _contents(RunLayout(run), artifact, sample.golden)
        check_shapes(contents)
        with disk_problems_explained(out):
            figures = [
                _made(one, contents, sample, found, max_drop=max_drop, observer=observer)
                for one in staged
            ]
            if any(one.problems for one in figures):
                observer.on_table("Parity", COLUMNS, [one.row() for one in figures])
            refuse_any(figures)
            folders, pruned = _published(staged, version, keep)
    return ExportResult(folders, figures, pruned)


def _published(
    staged: Sequence[_Staged], version: int | None, keep: int | None
) -> tuple[list[Path], list[Path]]:
    """Return the version folders of all formats, and the old ones that were removed."""
    folders = [publish(one.folder, one.base_dir, version) for one in staged]
    pruned = [
        gone
        for one, folder in zip(staged, folders, strict=True)
        for gone in (prune(one.base_dir, keep, never=folder) if keep else ())
    ]
    return folders, pruned


def check(path: Path | str, *, observer: Observer | None = None) -> dict[str, Any]:
    """Prove an existing export again from its own golden set; see ``check_export``."""
    observer = observer or SilentObserver()
    observer.on_phase("check", str(path))
    return check_export(Path(path))


def _checked_run(path: Path) -> Path:
    """Return the folder of the run that ``path`` names: itself, or the model in it."""
    if not path.exists():
        raise UsageError(
            f"there is no run '{path}'",
            hint="give the folder of a run; `tltool runs list` has them",
        )
    run = path.parent if path.name == MODEL_FILE else path
    if is_artifact(run):
        return run
    if version_folder(path) is not None:
        raise DataError(
            f"'{path}' is an export; other formats are made of the run that it came from",
            hint="give that run's folder; `tltool runs list` has them",
        )
    raise DataError(
        f"'{path}' holds no trained model to export",
        hint="give the folder of a finished run; `tltool runs resume RUN` finishes one",
    )


def _calibrates(formats: Sequence[ExportFormat]) -> bool:
    return any(known.name == "litert-int8" for known in formats)


def _tell_calibration(photos: ExportImages, observer: Observer) -> None:
    if photos.calibration is not None:
        observer.on_message(f"8-bit ranges from {len(photos.calibration)} training images")


def _contents(run: RunLayout, artifact: Artifact, golden: Golden) -> Contents:
    manifest = read_manifest(run.manifest).to_json()
    facts = {**manifest, "run": run.folder.resolve().name, **versions()}
    return contents_of(artifact, golden, recipe=load_recipe(str(run.recipe)), facts=facts)


def _staged(known: ExportFormat, base_dir: Path, stack: ExitStack) -> _Staged:
    return _Staged(known, base_dir, stack.enter_context(staging(base_dir)))


def _made(
    staged: _Staged,
    contents: Contents,
    sample: Sample,
    found: ExportImages,
    *,
    max_drop: float,
    observer: Observer,
) -> Figures:
    """Write one format into its staging folder, run it, and seal it."""
    known, folder = staged.known, staged.folder
    observer.on_phase(known.name)
    labels = np.full(len(sample.images), -1, np.int64)
    labels[: len(found.labels)] = found.labels  # golden copies of large images stand behind
    photos = GateSamples(
        sample.images, sample.arrays, labels, sample.expected, ood_scores=sample.ood_scores
    )
    with FreshProcess(known.runtime) as child:
        if known.name == "saved_model":
            write_saved_model(contents, folder, staged.base_dir)
        else:
            _write_converted(staged, contents, found.calibration)
        figures = measure(folder, known, photos, max_drop=max_drop, child=child)
    if known.name != "saved_model":
        positions = [sample.images.index(image) for image in sample.golden.images]
        own = Golden(sample.golden.images, figures.answers[positions])
        (folder / "assets" / GOLDEN_ASSET).write_bytes(own.to_bytes())
    write_seal(folder, {"format": known.name, "gate": figures.to_json()})
    return figures


def _write_converted(staged: _Staged, contents: Contents, calibration: np.ndarray | None) -> None:
    check_space(staged.base_dir, contents.model.variables)
    assets = staged.folder / "assets"
    assets.mkdir(parents=True)
    for name, document in contents.documents().items():
        (assets / name).write_bytes(document)
    write_converted(
        staged.folder / staged.known.file,
        staged.known,
        contents.model,
        temperature=contents.temperature,
        calibration=calibration,
    )
