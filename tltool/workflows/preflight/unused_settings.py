"""Settings of the user's that change nothing here, known without opening an image."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import reduce

from tltool.recipe.schema import Recipe
from tltool.workflows.preflight.network import HIDDEN_LAYER
from tltool.workflows.resolve.run_spec import RunSpec

_DEFAULT = Recipe()
_OF_OPTIMIZERS = ("train.optimizer", "train.momentum", "train.nesterov", "train.weight_decay")
_ON_MAPS = ("gap_conv", "flatten", "original")  # heads in which spatial dropout drops whole maps


def unused_settings(spec: RunSpec, replaced: Collection[str] = ()) -> list[str]:
    """Return a sentence on each setting of the user's that changes nothing here.

    Args:
        spec: the run.
        replaced: names of what a Python program gives instead, such as optimizer.
    """
    useless = [
        f"{key} does nothing with {why}"
        for key, unused, why in [
            *_of_the_model(spec),
            *_of_training(spec),
            *((key, "optimizer" in replaced, "optimizer=") for key in _OF_OPTIMIZERS),
        ]
        if unused and _is_user_set(spec.recipe, key)
    ]
    return [*useless, *_other_notes(spec)]


def unreached_stages(spec: RunSpec) -> str | None:
    """Return a warning where the fine-tune phase ends before its last stage joins."""
    settings, stages = spec.recipe.train.finetune, spec.trained_stages
    joined = 1 + (settings.epochs - 1) // (settings.unfreeze_every or 1)
    if not settings.unfreeze_every or joined >= stages:
        return None
    return (
        f"only {joined} of {stages} stages will be trained: with unfreeze_every "
        f"{settings.unfreeze_every} all take {1 + (stages - 1) * settings.unfreeze_every} epochs "
        f"(train.finetune.epochs={settings.epochs})"
    )


def _of_the_model(spec: RunSpec) -> Iterator[tuple[str, bool, str]]:
    """Yield (key, whether it does nothing, with what)."""
    model, kind, backbone = spec.recipe.model, spec.head.kind, spec.backbone
    head, hidden = f"head {kind}", kind in HIDDEN_LAYER
    grouped = model.regularization.norm == "group" or (hidden and model.head.norm == "group")
    yield "model.head.attention_dropout", kind != "attention", head
    yield "model.head.hidden_units", not hidden, head
    yield "model.head.norm", not hidden, head
    yield "model.norm_groups", not grouped, "no norm: group"
    own = f"{backbone.name}, which has its own"
    yield "model.preprocessing", not backbone.file, own
    if not backbone.norm_channels:
        yield "model.batch_norm", True, f"{backbone.name}, which has no batch normalisation"
    elif model.regularization.norm not in ("batch", "sync_batch"):
        yield "model.batch_norm", True, f"regularization.norm {model.regularization.norm}"


def _of_training(spec: RunSpec) -> Iterator[tuple[str, bool, str]]:
    train = spec.recipe.train
    schedule = f"schedule {train.schedule}"
    untrained = not train.head.epochs and not train.finetune.epochs
    yield "train.accumulate", untrained, "no epochs of head and finetune"
    yield "train.jit_compile", untrained, "no epochs of head and finetune"
    optimizer = f"optimizer {train.optimizer}"
    yield "train.momentum", train.optimizer != "sgd", optimizer
    yield "train.nesterov", train.optimizer != "sgd", optimizer
    yield "train.weight_decay", train.optimizer == "adam", f"{optimizer}, unlike adamw"
    yield "train.step_epochs", train.schedule != "step", schedule
    yield "train.plateau_patience", train.schedule != "plateau", schedule
    yield "train.decay_factor", train.schedule not in ("step", "plateau"), schedule
    yield "train.warmup_epochs", train.schedule == "one_cycle", schedule
    yield "train.focal_gamma", train.imbalance != "focal", f"imbalance {train.imbalance}"
    yield "train.cache.views", train.cache.mode == "off", "cache off"
    cached = train.cache.mode == "on" and not spec.trains_whole_backbone
    yield "train.cache_decoded", cached, "cache on, which trains on features"
    alone = spec.trained_stages < 2
    why = f"unfreeze {train.finetune.unfreeze}, which trains no second stage"
    yield "train.finetune.stage_decay", alone, why
    yield "train.finetune.unfreeze_every", alone, why
    evaluate, imbalance = spec.recipe.evaluate, train.imbalance
    unbalanced = imbalance not in ("weights", "balanced_sampling")
    yield "evaluate.prior_correction", unbalanced, f"imbalance {imbalance}"
    yield "evaluate.coverage_confidence", evaluate.coverage is None, "coverage null"


def _other_notes(spec: RunSpec) -> Iterator[str]:
    recipe, train, kind = spec.recipe, spec.recipe.train, spec.head.kind
    spatial = spec.head.dropout_kind == "spatial"
    if spatial and _is_user_set(recipe, "model.head.dropout_kind") and kind not in _ON_MAPS:
        yield f"model.head.dropout_kind spatial is plain dropout with head {kind}"
    longest = max(train.head.epochs, train.finetune.epochs)
    waits = {
        "step_epochs": train.schedule == "step",
        "plateau_patience": train.schedule == "plateau",
        "warmup_epochs": train.schedule != "one_cycle",
    }
    for key, used in waits.items():
        epochs = getattr(train, key)
        if longest and used and epochs >= longest and _is_user_set(recipe, f"train.{key}"):
            limit = f"{longest} epoch{'s' * (longest != 1)}"
            yield f"train.{key} {epochs:g} is not shorter than the longest phase ({limit})"


def _is_user_set(recipe: Recipe, key: str) -> bool:
    """Whether the user set a key, and to something else than its default."""
    *path, name = key.split(".")
    section, default = (reduce(getattr, path, each) for each in (recipe, _DEFAULT))
    is_set = name in section.model_fields_set
    return is_set and bool(getattr(section, name) != getattr(default, name))
