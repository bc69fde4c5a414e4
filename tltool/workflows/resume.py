"""Take up a run that was killed, interrupted or stopped by a full disk."""

from __future__ import annotations

from pathlib import Path

from tltool.data.splits.split import read_split
from tltool.errors import DataError
from tltool.events import Observer
from tltool.recipe.load import load_recipe
from tltool.runs.environment import differences, environment
from tltool.runs.layout import RunLayout
from tltool.runs.lock import locked
from tltool.runs.manifest import read_manifest
from tltool.tracking.observer import check_trackers
from tltool.workflows.finetune import FinetuneResult, carry_out, open_session
from tltool.workflows.list_runs import check_resumable
from tltool.workflows.training_run.context import RunOptions, recipe_digest
from tltool.workflows.training_run.fingerprint import RunFingerprint


def resume(
    folder: Path,
    *,
    offline: bool = False,
    observer: Observer | None = None,
    caches: Path | None = None,
) -> FinetuneResult:
    """Finish the run in ``folder``, to the bit as if it had never stopped.

    Args:
        folder: the run folder.
        offline: open no network connection.
        observer: told about everything on the way.
        caches: the folder of features that the run shared with others, if it did.

    Raises:
        UsageError: the run is finished or failed, or another process works on it.
        DataError: the images, the recipe or the manifest changed since.
        EnvironmentProblem: the weights changed since, or the GPU is gone.
    """
    run = RunLayout(folder)
    facts = read_manifest(run.manifest)
    with locked(folder):
        check_resumable(run, facts["status"])
        recipe = load_recipe(str(run.recipe))
        if recipe_digest(recipe) != facts["recipe_digest"]:
            raise DataError(
                f"'{run.recipe}' was changed since the run began",
                hint="start a new run with it: "
                f"tltool finetune {facts['arguments']['photos']} --recipe {run.recipe}",
            )
        arguments = RunOptions.from_json(facts["arguments"])
        check_trackers(arguments.track, offline=offline)
        expected = RunFingerprint(
            purpose="resume",
            data_digest=facts.get("data_digest"),
            rows=read_split(run.split) if "data_digest" in facts else (),
            weights_digest=facts.get("weights_digest"),
            in_order=True,
        )
        changed = differences({name: facts[name] for name in environment()}, environment())
        session = open_session(recipe, run, facts, device=arguments.device, observer=observer)
        for name, then, now in changed:
            session.observer.on_message(
                f"{name} was {then} when the run began and is {now}: the result may differ from "
                "that of an uninterrupted run",
                level="warning",
            )
        return carry_out(session, arguments, offline=offline, expected=expected, caches=caches)
