"""Take up a run that was killed, interrupted or stopped by a full disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tltool.data.splits.split import read_split
from tltool.errors import DataError, UsageError, counted
from tltool.events import Observer
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.runs.layout import RunLayout
from tltool.runs.lock import locked
from tltool.runs.manifest import Manifest, read_manifest
from tltool.runs.peers import Peers, read_peers
from tltool.runs.temporary import temporary_folder
from tltool.tracking.observer import check_trackers
from tltool.training.keras_objects import NO_OBJECTS, KerasObjects
from tltool.training.own_settings import with_own_settings
from tltool.workflows.finetune import FinetuneResult, finetune_run
from tltool.workflows.list_runs import check_resumable
from tltool.workflows.preflight.peers import check_no_engine
from tltool.workflows.preflight.python_objects import check_given_again
from tltool.workflows.resolve.run_backbone import with_kept_backbone
from tltool.workflows.resolve.run_corrections import with_kept_corrections
from tltool.workflows.resolve.run_spec import resolve
from tltool.workflows.training_run.context import recipe_digest
from tltool.workflows.training_run.lifecycle import resumed_context
from tltool.workflows.training_run.peer_run import receive_run, without_outputs
from tltool.workflows.training_run.run_fingerprint import RunFingerprint


@with_own_settings
def resume(
    folder: Path | str,
    *,
    offline: bool = False,
    observer: Observer | None = None,
    feature_cache: Path | str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    objects: KerasObjects = NO_OBJECTS,
) -> FinetuneResult:
    """Finish the run in ``folder``, bit-identical to one that never stopped.

    Args:
        folder: the run folder.
        offline: open no network connection.
        observer: receives everything that is reported.
        feature_cache: the folder of features that the run shared with other runs, if it did.
        workers: as `tltool.finetune` takes it; it need not be that of the run.
        cluster: likewise.
        objects: what was given to `tltool.finetune` beside the recipe, again. Callbacks start anew:
            what they have counted is not kept.

    A run of several workers is resumed by starting all of them again; the first one reads the
    folder, and sends the others what they need.

    Raises:
        UsageError: the run is finished or failed, another process works on it, or it was trained
            with other objects or by another number of workers.
        DataError: the images, the recipe or the manifest changed since.
        GateError: the corrections of labels changed since.
        EnvironmentProblem: the weights changed since, or the GPU is gone.
    """
    peers = read_peers()
    check_no_engine(peers, workers, cluster)
    call: dict[str, Any] = {"offline": offline, "workers": workers, "cluster": cluster}
    if peers is None or peers.writes:
        call["feature_cache"] = Path(feature_cache) if feature_cache else None
        return _resume(Path(folder), call, observer, objects, peers)
    with temporary_folder("tltool-worker-") as own:
        first = receive_run(peers, own)
        return _resume(own, call, observer, objects, peers, first)


def _resume(
    folder: Path,
    call: Mapping[str, Any],
    observer: Observer | None,
    objects: KerasObjects,
    peers: Peers | None,
    first_folder: Path | None = None,
) -> FinetuneResult:
    layout = RunLayout(folder)
    manifest = read_manifest(layout.manifest)
    with locked(folder):
        _check_peers(first_folder or folder, manifest, peers)
        check_resumable(layout, manifest.status)
        check_given_again(folder, manifest, objects.description, verb="resume")
        spec = resolve(with_kept_backbone(_unchanged_recipe(layout, manifest), layout, manifest))
        options = replace(manifest.options, **call)
        options = with_kept_corrections(options, layout, manifest)
        if first_folder is not None:
            options = without_outputs(options)
        check_trackers(options.track, offline=options.offline, register=options.register)
        fingerprint = _fingerprint(layout, manifest)
        with resumed_context(
            spec,
            options,
            layout,
            manifest,
            observer=observer,
            expected=fingerprint,
            objects=objects,
            peers=peers,
            first_folder=first_folder,
        ) as run:
            return finetune_run(run)


def _check_peers(folder: Path, manifest: Manifest, peers: Peers | None) -> None:
    """Check that a run is resumed by as many workers as began it.

    Raises:
        UsageError: it is not.
    """
    before, now = (manifest.cluster or {}).get("ranks", 1), len(peers.addresses) if peers else 1
    if before != now:
        raise UsageError(
            f"the run '{folder}' was begun by {counted(before, 'worker', 'workers')}, and "
            f"is resumed by {now}",
            hint="unset TF_CONFIG"
            if before == 1
            else f"set TF_CONFIG for {before} workers and start all of them: "
            f"tltool runs resume {folder}",
        )


def _unchanged_recipe(layout: RunLayout, manifest: Manifest) -> Recipe:
    recipe = load_recipe(str(layout.recipe))
    if recipe_digest(recipe) != manifest.recipe_digest:
        raise DataError(
            f"'{layout.recipe}' was changed since the run began",
            hint="start a new run with it: "
            f"tltool finetune {manifest.options.data} --recipe {layout.recipe}",
        )
    return recipe


def _fingerprint(layout: RunLayout, manifest: Manifest) -> RunFingerprint:
    """Return what the run must find again: data and weights, as far as it had come."""
    return RunFingerprint(
        purpose="resume",
        data_digest=manifest.data_digest,
        rows=read_split(layout.split) if manifest.data_digest else (),
        weights_digest=manifest.weights_digest,
        in_order=True,
        precision=manifest.precision,
    )
