"""How a training run begins, is taken up again, and ends."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tltool.errors import TltoolError
from tltool.events import Observer, SilentObserver
from tltool.recipe.load import to_yaml
from tltool.recipe.source_text import anchored
from tltool.runs.disk_support import describe_missing
from tltool.runs.environment import differences, environment
from tltool.runs.layout import RunLayout, check_unused, create_run, discard_run
from tltool.runs.lock import locked
from tltool.runs.log import LoggingObserver
from tltool.runs.manifest import Manifest, write_manifest
from tltool.runs.peers import Peers
from tltool.runs.run_options import RunOptions
from tltool.storage.durable import remove_unfinished, write_durably
from tltool.tracking.observer import tracked
from tltool.training.devices import gpu_facts
from tltool.training.keras_objects import NO_OBJECTS, KerasObjects
from tltool.workflows.preflight.unused_settings import unreached_stages, unused_settings
from tltool.workflows.resolve.export_name import export_name
from tltool.workflows.resolve.run_backbone import keep_backbone, recorded_backbone
from tltool.workflows.resolve.run_corrections import keep_corrections
from tltool.workflows.resolve.run_spec import RunSpec
from tltool.workflows.training_run.context import RunContext, prepare_machine, recipe_digest
from tltool.workflows.training_run.failures import handle_run_failure
from tltool.workflows.training_run.memory_limit import fitted_to_memory
from tltool.workflows.training_run.peer_run import OnlyWarnings, join_new_run, send_run
from tltool.workflows.training_run.resources import recorded_resources
from tltool.workflows.training_run.run_fingerprint import RunFingerprint
from tltool.workflows.training_run.run_workers import workers_of_run


@contextmanager
def run_context(
    spec: RunSpec,
    options: RunOptions,
    *,
    observer: Observer | None = None,
    expected: RunFingerprint | None = None,
    objects: KerasObjects = NO_OBJECTS,
    peers: Peers | None = None,
) -> Iterator[RunContext]:
    """Begin a new run: make and lock its folder, prepare the machine, log and track.

    Args:
        spec: what to do.
        options: what the run is called with.
        observer: receives everything that is reported.
        expected: data and weights that the run must find.
        objects: what a Python program gives to training.
        peers: the processes that train together; None for this one alone.

    Raises:
        UsageError: the run folder is in use, or is not empty.
        EnvironmentProblem: it cannot be made, or there is no GPU.
    """
    now = datetime.datetime.now(datetime.UTC)
    layout = create_run(options.out, spec.recipe.name, now=now)
    with locked(layout.folder):
        check_unused(layout.folder)  # by a run that started at the same time
        remove_unfinished(layout.folder)
        options = replace(absolute(options), export_name=export_name(spec.recipe, options))
        manifest = new_manifest(spec, options, now=now)
        manifest = replace(manifest, keras_objects=objects.description or None)
        if expected:
            manifest = replace(
                manifest, micro_batches=expected.micro_batches, time_limit=expected.time_limit
            )
        write_manifest(layout.manifest, manifest)
        keep_backbone(layout, spec.backbone)
        keep_corrections(layout, options.corrections)
        # from here on the run can be resumed; if it is killed before, the folder counts as unused
        write_durably(layout.recipe, to_yaml(spec.recipe).encode())
        join = partial(
            join_new_run,
            folder=layout.folder,
            digest=manifest.recipe_digest,
            options=options,
        )
        run = _prepare(spec, options, layout, manifest, observer, expected, peers, join)
        run.objects = objects
        for note in (*unused_settings(spec, objects.description), *objects.notes):
            run.observer.on_message(f"note: {note}")
        with _guarded(run):
            yield run


@contextmanager
def resumed_context(
    spec: RunSpec,
    options: RunOptions,
    layout: RunLayout,
    manifest: Manifest,
    *,
    observer: Observer | None,
    expected: RunFingerprint,
    objects: KerasObjects = NO_OBJECTS,
    peers: Peers | None = None,
    first_folder: Path | None = None,
) -> Iterator[RunContext]:
    """Take up a run that was stopped; its folder is locked already.

    Args:
        spec: what to do.
        options: what the run was called with.
        layout: paths in the run folder.
        manifest: what the run has recorded.
        observer: receives everything that is reported.
        expected: data and weights that the run must find again.
        objects: what a Python program gives to training again.
        peers: the processes that train together; None for this one alone.
        first_folder: the run folder of the first worker, on the others.

    Raises:
        EnvironmentProblem: the GPU is gone.
    """
    remove_unfinished(layout.folder)
    changed = differences(manifest.environment, environment())

    def join(peers: Peers) -> Path:
        if first_folder is None:
            send_run(peers, layout.folder)
        return first_folder or layout.folder

    run = _prepare(spec, options, layout, manifest, observer, expected, peers, join)
    run.objects = objects
    for name, before, now in changed:
        run.observer.on_message(
            f"{name} was {before} when the run began and is {now}: the result may differ from "
            "that of an uninterrupted run",
            level="warning",
        )
    with _guarded(run):
        yield run


def absolute(options: RunOptions) -> RunOptions:
    """Return options whose sources mean the same from every folder."""
    test = anchored(options.test) if options.test else None
    return replace(options, data=anchored(options.data), test=test)


def new_manifest(spec: RunSpec, options: RunOptions, *, now: datetime.datetime) -> Manifest:
    """Return what is known of a run before it begins."""
    return Manifest(
        name=spec.recipe.name,
        status="running",
        started=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        recipe_digest=recipe_digest(spec.recipe),
        options=options,
        backbone=recorded_backbone(spec.backbone) if spec.backbone.file else None,
        **environment(),
    )


def _prepare(
    spec: RunSpec,
    options: RunOptions,
    layout: RunLayout,
    manifest: Manifest,
    observer: Observer | None,
    expected: RunFingerprint | None,
    peers: Peers | None,
    join: Callable[[Peers], Path],
) -> RunContext:
    recorded = expected.precision if expected else None
    try:
        first_folder = join(peers) if peers else None
        machine = prepare_machine(spec.recipe, options.device, recorded=recorded, peers=peers)
    except TltoolError:
        if manifest.data_digest is None:
            discard_run(layout)
        raise
    if peers and not peers.writes:
        observer = OnlyWarnings(observer)
    logged = LoggingObserver(layout.log, observer or SilentObserver())
    run = RunContext(spec, options, layout, machine, logged, manifest, expected)
    run.peers, run.first_folder = peers, first_folder
    run.spent_before = float((manifest.time_limit or {}).get("spent", options.seconds_before))
    seed, device = spec.recipe.seed, machine.summary
    cluster = {"ranks": len(peers.addresses)} if peers else manifest.cluster
    run.record(replace(manifest, seed=seed, device=device, gpus=gpu_facts(), cluster=cluster))
    logged.on_message(f"{machine.summary}; run folder {layout.folder}")
    for warning in filter(None, (describe_missing(layout.folder), unreached_stages(spec))):
        logged.on_message(warning, level="warning")
    return run


@contextmanager
def _guarded(run: RunContext) -> Iterator[None]:
    """Log and track what happens, handle failures, and start the workers of the run."""
    options = run.options
    with (
        handle_run_failure(run),
        recorded_resources(run),
        tracked(
            run.layout,
            run.observer,
            tensorboard=options.tensorboard,
            track=options.track,
            register=options.register,
            offline=options.offline,
        ) as run.observer,
        fitted_to_memory(run),
        workers_of_run(run),
    ):
        yield
