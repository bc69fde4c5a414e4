"""What the user is told about a phase of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tltool.training.optimizers import Group
from tltool.training.plan import PhasePlan


def told_of(plan: PhasePlan, groups: Sequence[Group]) -> str:
    """Return how much is trained, and how long at most."""
    count = sum(int(np.prod(v.shape)) for group in groups for v in group.variables)
    thawing = plan.thaw_epochs and len(groups) > 1
    joining = f", a stage joins every {plan.thaw_epochs}" if thawing else ""
    return f"{count:,} parameters, up to {plan.epochs} epoch{'s' * (plan.epochs != 1)}{joining}"
