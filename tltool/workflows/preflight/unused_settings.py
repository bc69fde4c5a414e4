"""What a recipe sets in vain, known without opening an image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from tltool.models.backbone_registry import Backbone
from tltool.recipe.schema import Recipe
from tltool.workflows.preflight.network import HIDDEN_LAYER
from tltool.workflows.resolve.specs import first_trained_stage, head_kind

_DEFAULT = Recipe()
_ON_MAPS = ("gap_conv", "flatten", "original")  # heads in which spatial dropout drops whole maps


def notes(recipe: Recipe, backbone: Backbone) -> list[str]:
    """Return a sentence on each setting of the user's that changes nothing here."""
    useless = [
        f"{key} does nothing with {why}"
        for key, vain, why in [*_of_the_model(recipe, backbone), *_of_training(recipe, backbone)]
        if vain and _said(recipe, key)
    ]
    return [*useless, *_special(recipe, backbone)]


def unfreezing_note(recipe: Recipe, backbone: Backbone) -> str | None:
    """Return a warning where the fine-tune phase ends before its last stage joins."""
    settings = recipe.train.finetune
    stages = _trained_stages(recipe, backbone)
    joined = 1 + (settings.epochs - 1) // (settings.unfreeze_every or 1)
    if not settings.unfreeze_every or joined >= stages:
        return None
    return (
        f"only {joined} of {stages} stages will be trained: with unfreeze_every "
        f"{settings.unfreeze_every} all take {1 + (stages - 1) * settings.unfreeze_every} epochs "
        f"(train.finetune.epochs={settings.epochs})"
    )


def _of_the_model(recipe: Recipe, backbone: Backbone) -> Iterator[tuple[str, bool, str]]:
    """Yield (key, whether it does nothing, with what)."""
    model, kind = recipe.model, head_kind(recipe, backbone)
    head, hidden = f"head {kind}", kind in HIDDEN_LAYER
    grouped = model.regularization.norm == "group" or (hidden and model.head.norm == "group")
    yield "model.head.attention_dropout", kind != "attention", head
    yield "model.head.hidden_units", not hidden, head
    yield "model.head.norm", not hidden, head
    yield "model.norm_groups", not grouped, "no norm: group"
    if not backbone.norm_channels:
        yield "model.batch_norm", True, f"{backbone.name}, which has no batch normalisation"
    elif model.regularization.norm not in ("batch", "sync_batch"):
        yield "model.batch_norm", True, f"regularization.norm {model.regularization.norm}"


def _of_training(recipe: Recipe, backbone: Backbone) -> Iterator[tuple[str, bool, str]]:
    train = recipe.train
    schedule = f"schedule {train.schedule}"
    yield "train.step_epochs", train.schedule != "step", schedule
    yield "train.plateau_patience", train.schedule != "plateau", schedule
    yield "train.decay_factor", train.schedule not in ("step", "plateau"), schedule
    yield "train.warmup_epochs", train.schedule == "one_cycle", schedule
    yield "train.focal_gamma", train.imbalance != "focal", f"imbalance {train.imbalance}"
    yield "train.cache.views", train.cache.mode == "off", "cache off"
    alone = _trained_stages(recipe, backbone) < 2
    why = f"unfreeze {train.finetune.unfreeze}, which trains no second stage"
    yield "train.finetune.stage_decay", alone, why
    yield "train.finetune.unfreeze_every", alone, why


def _special(recipe: Recipe, backbone: Backbone) -> Iterator[str]:
    train, kind = recipe.train, head_kind(recipe, backbone)
    spatial = recipe.model.head.dropout_kind == "spatial"
    if spatial and _said(recipe, "model.head.dropout_kind") and kind not in _ON_MAPS:
        yield f"model.head.dropout_kind spatial is plain dropout with head {kind}"
    longest = max(train.head.epochs, train.finetune.epochs)
    late = f"no phase has more than {longest} epoch{'s' * (longest != 1)}"
    waits = {
        "step_epochs": train.schedule == "step",
        "plateau_patience": train.schedule == "plateau",
        "warmup_epochs": train.schedule != "one_cycle",
    }
    for key, used in waits.items():
        epochs = getattr(train, key)
        if longest and used and epochs >= longest and _said(recipe, f"train.{key}"):
            yield f"train.{key} {epochs:g} is never over: {late}"


def _trained_stages(recipe: Recipe, backbone: Backbone) -> int:
    stage = first_trained_stage(recipe, backbone)
    names = [known.name for known in backbone.stages]
    return len(names) - names.index(stage) if stage else 0


def _said(recipe: Recipe, key: str) -> bool:
    """Whether the user said it, and something else than is so anyway."""
    *path, name = key.split(".")
    section, usual = (reduce(getattr, path, each) for each in (recipe, _DEFAULT))
    given = name in section.model_fields_set
    return given and bool(getattr(section, name) != getattr(usual, name))
