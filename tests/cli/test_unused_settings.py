"""Unused settings of a recipe are reported once and do not stop a run."""

from __future__ import annotations

import json

import pytest

NOTES = {
    "attention dropout": (
        "model: {head: {attention_dropout: 0.5}}",
        "model.head.attention_dropout does nothing with head gap",
    ),
    "hidden units": (
        "model: {head: {hidden_units: 64}}",
        "model.head.hidden_units does nothing with head gap",
    ),
    "norm of a hidden layer": (
        "model: {head: {kind: attention, norm: batch}}",
        "model.head.norm does nothing with head attention",
    ),
    "groups": ("model: {norm_groups: 4}", "model.norm_groups does nothing with no norm: group"),
    "statistics of no norm": (
        "model: {batch_norm: train}",
        "model.batch_norm does nothing with vgg16, which has no batch normalisation",
    ),
    "statistics of another norm": (
        "model: {backbone: resnet18, weights: random, batch_norm: train, "
        "regularization: {norm: layer}}",
        "model.batch_norm does nothing with regularization.norm layer",
    ),
    "spatial dropout of one number": (
        "model: {head: {dropout_kind: spatial}}",
        "model.head.dropout_kind spatial is plain dropout with head gap",
    ),
    "another schedule": (
        "train: {step_epochs: 3}",
        "train.step_epochs does nothing with schedule cosine",
    ),
    "steps that never come": (
        "train: {schedule: step, step_epochs: 50}",
        "train.step_epochs 50 is not shorter than the longest phase (20 epochs)",
    ),
    "a plateau that is never over": (
        "train: {schedule: plateau, plateau_patience: 30}",
        "train.plateau_patience 30 is not shorter than the longest phase (20 epochs)",
    ),
    "a warm-up of its own": (
        "train: {schedule: one_cycle, warmup_epochs: 3}",
        "train.warmup_epochs does nothing with schedule one_cycle",
    ),
    "a warm-up that is never over": (
        "train: {warmup_epochs: 50}",
        "train.warmup_epochs 50 is not shorter than the longest phase (20 epochs)",
    ),
    "focal loss": ("train: {focal_gamma: 3}", "train.focal_gamma does nothing with imbalance none"),
    "views of no cache": (
        "train: {cache: {mode: off, views: 5}}",
        "train.cache.views does nothing with cache off",
    ),
    "decoded images beside features": (
        "train: {cache: on, cache_decoded: on}",
        "train.cache_decoded does nothing with cache on, which trains on features",
    ),
    "one stage": (
        "train: {finetune: {unfreeze: last, stage_decay: 0.5}}",
        "train.finetune.stage_decay does nothing with unfreeze last, which trains no second stage",
    ),
    "stages that never join": (
        "train: {finetune: {unfreeze: block1, unfreeze_every: 10, epochs: 5}}",
        "only 1 of 5 stages will be trained: with unfreeze_every 10 all take 41 epochs "
        "(train.finetune.epochs=5)",
    ),
}


@pytest.mark.parametrize(("text", "output"), NOTES.values(), ids=list(NOTES))
def test_validate_says_what_does_nothing(tltool, tmp_path, text, output):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"base: vgg16\n{text}\n", encoding="utf-8")
    result = tltool("recipes", "validate", recipe)
    assert result.exit_code == 0
    assert result.stdout == f"{recipe}: valid\n  note: {output}\n"
    document = json.loads(tltool("recipes", "validate", recipe, "--json").stdout)
    assert document == [{"recipe": str(recipe), "problem": None, "notes": [output]}]


USED = {
    "attention": "model: {head: {kind: attention, attention_dropout: 0.5}}",
    "a hidden layer": ("model: {norm_groups: 4, head: {kind: mlp, hidden_units: 64, norm: group}}"),
    "groups in the backbone": (
        "model: {backbone: resnet18, weights: random, norm_groups: 4, "
        "regularization: {norm: group}}"
    ),
    "batch norm": "model: {backbone: resnet50, batch_norm: train}",
    "maps": "model: {head: {kind: flatten, dropout_kind: spatial}}",
    "steps": "train: {schedule: step, step_epochs: 3, decay_factor: 0.5}",
    "a plateau": "train: {schedule: plateau, plateau_patience: 3, decay_factor: 0.5}",
    "focal loss": "train: {imbalance: focal, focal_gamma: 3}",
    "stages": "train: {finetune: {unfreeze: block4, stage_decay: 0.5, unfreeze_every: 2}}",
}


@pytest.mark.parametrize("text", USED.values(), ids=list(USED))
def test_what_does_something_is_not_spoken_of(tltool, tmp_path, text):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"base: vgg16\n{text}\n", encoding="utf-8")
    assert tltool("recipes", "validate", recipe).stdout == f"{recipe}: valid\n"


def test_what_a_shipped_recipe_says_is_not_spoken_of(tltool, tmp_path):
    """scratch trains batch normalisation, and LeNet-5 has none; fine_grained has more stages."""
    (tmp_path / "a.yaml").write_text("base: scratch\nmodel: {backbone: lenet5}\n")
    (tmp_path / "b.yaml").write_text("base: fine_grained\ntrain: {finetune: {unfreeze: last}}\n")
    (tmp_path / "c.yaml").write_text("base: a.yaml\nmodel: {batch_norm: train}\n")
    files = [tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml")]
    lines = tltool("recipes", "validate", *files).stdout.splitlines()
    assert lines == [
        *(f"{file}: valid" for file in files),
        "  note: model.batch_norm does nothing with lenet5, which has no batch normalisation",
    ]


@pytest.mark.thorough
@pytest.mark.slow
def test_finetune_says_it_before_it_opens_a_photo(finetune_tiny, make_photos):
    settings = (
        "model.head.hidden_units=64",
        "train.finetune.unfreeze=block1",
        "train.finetune.unfreeze_every=2",
        "train.cache=auto",
        "train.head.epochs=0",
    )
    result = finetune_tiny(make_photos(), settings=settings)
    assert result.exit_code == 0, result.stderr
    audit = result.stderr.index("audit")
    assert result.stderr.index("note: model.head.hidden_units does nothing with head gap") < audit
    assert result.stderr.index("only 1 of 3 stages will be trained") < audit
    assert result.stderr.count("will be trained") == 1
