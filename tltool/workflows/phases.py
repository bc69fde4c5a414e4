"""What the user is told about a phase of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tltool.training.optimizers import Group
from tltool.training.plan import PhasePlan
from tltool.workflows.session import Session


def told_of(plan: PhasePlan, groups: Sequence[Group]) -> str:
    """Return how much is trained, and how long at most."""
    count = sum(int(np.prod(v.shape)) for group in groups for v in group.variables)
    thawing = plan.thaw_epochs and len(groups) > 1
    joining = f", a stage joins every {plan.thaw_epochs}" if thawing else ""
    return f"{count:,} parameters, up to {plan.epochs} epoch{'s' * (plan.epochs != 1)}{joining}"


def tell_thawing(session: Session, stages: int) -> None:
    """Warn where the phase ends before the last of its ``stages`` joins."""
    settings = session.recipe.train.finetune
    joined = 1 + (settings.epochs - 1) // (settings.thaw_epochs or 1)
    if settings.thaw_epochs and joined < stages:
        session.observer.on_message(
            f"only {joined} of {stages} stages will be trained: with thaw_epochs "
            f"{settings.thaw_epochs} all take {1 + (stages - 1) * settings.thaw_epochs} epochs "
            f"(train.finetune.epochs={settings.epochs})",
            level="warning",
        )
