"""What a run on several workers cannot do yet, found before any image is opened."""

from __future__ import annotations

from tltool.errors import UsageError
from tltool.recipe.model_section import AUTO
from tltool.runs.peers import Peers, read_peers
from tltool.runs.run_options import RunOptions
from tltool.workflows.resolve.run_spec import RunSpec


def check_peers(spec: RunSpec, options: RunOptions) -> Peers | None:
    """Return the workers of this run, None for one process, after checking that they can do it.

    Raises:
        UsageError: TF_CONFIG is malformed, or the recipe asks for what only one process can do.
    """
    peers = read_peers()
    if peers is None:
        return None
    check_no_engine(peers, options.workers, options.cluster)
    train, changed = spec.recipe.train, spec.feature_changes.names
    problems = {
        "train.cache=on": train.cache.mode == "on",
        "train.cache_decoded=on": train.cache_decoded == "on",
        "train.accumulate": train.accumulate > 1,
        f"train.refit={train.refit}": train.refit != "off",
        f"augment.{changed[0] if changed else ''}": bool(changed),
        f"model.backbone={AUTO}": spec.recipe.model.backbone == AUTO,
    }
    setting = next((name for name, present in problems.items() if present), None)
    if setting is not None:
        raise UsageError(
            f"{setting} works in one process only, but TF_CONFIG names "
            f"{len(peers.addresses)} workers",
            hint=f"leave out {setting.partition('=')[0]}, or unset TF_CONFIG",
        )
    return peers


def check_no_engine(peers: Peers | None, workers: int | None, cluster: str | None) -> None:
    """Check that a run has the workers of TF_CONFIG or those of Ray, not both.

    Raises:
        UsageError: it has both.
    """
    if peers is not None and (workers is not None or cluster is not None):
        raise UsageError(
            f"{'--cluster' if workers is None else '--workers'} uses workers of Ray, and TF_CONFIG "
            f"names {len(peers.addresses)} others that train together",
            hint="leave out --workers and --cluster, or unset TF_CONFIG",
        )
