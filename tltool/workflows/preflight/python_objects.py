"""Whether what a Python program gave to a run is given again; no framework is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.runs.manifest import Manifest


def check_given_again(
    run: Path, manifest: Manifest, given: Mapping[str, Any] | None = None, *, verb: str
) -> None:
    """Check that a run can be repeated: what its recipe cannot describe must be given again.

    Args:
        run: the run folder.
        manifest: of the run.
        given: what is given now, as the manifest describes it.
        verb: resume or reproduce.

    Raises:
        UsageError: the run was adopted, or an object of its program is missing or another.
    """
    if manifest.adopted_from is not None:
        source = manifest.adopted_from["run"]
        raise UsageError(
            f"the run '{run}' holds a network that was trained outside of tltool, so there is no "
            f"training to {verb}",
            hint=f"adopt the network again: tltool.adopt(model, run='{source}')",
        )
    before, now = manifest.keras_objects or {}, given or {}
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if not names:
        return
    objects = ", ".join(f"{name}=..." for name in before)
    if before:
        raise UsageError(
            f"the run '{run}' was trained with {' and '.join(before)} of a Python program, which "
            f"its recipe does not have: give the same to {verb} it",
            hint=f"from Python: tltool.{verb}('{run}', objects=tltool.KerasObjects({objects}))",
        )
    raise UsageError(
        f"the run '{run}' was trained without {' and '.join(names)} of a program",
        hint="leave out objects=",
    )
