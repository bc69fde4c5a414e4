"""Training steps that XLA compiles; in fresh processes, because determinism cannot be undone."""

from __future__ import annotations

import json

import pytest

from tests.conftest import by_cost, merged
from tests.workflows.conftest import TINY
from tltool.errors import UsageError
from tltool.recipe.load import load_recipe
from tltool.workflows.preflight.recipe import check_recipe
from tltool.workflows.resolve.run_spec import resolve

PROGRAM = """
import json, sys
from pathlib import Path
from tltool.errors import UsageError
from tltool.recipe.load import load_recipe
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import finetune

photos, out, *settings = sys.argv[1:]
def digest(name, *more, precision="float32"):
    recipe = load_recipe("vgg16", [*settings, f"train.precision={precision}", *more])
    try:
        run = finetune(photos, recipe=recipe, out=Path(out) / name).run
    except UsageError as error:
        return error.message
    return read_manifest(run / "manifest.json").model_digest

usual = digest("usual")
compiled = [digest(f"compiled{n}", "train.jit_compile=true") for n in range(2)]
accumulated = digest("accumulated", "train.jit_compile=true", "train.accumulate=2")
rounded = digest("rounded", "train.jit_compile=true", precision="bfloat16")
import tensorflow as tf
tf.config.experimental.enable_op_determinism()
late = digest("late", "train.jit_compile=true")
print(json.dumps([usual, *compiled, accumulated, rounded, late]))
"""


@pytest.mark.parametrize("head_epochs", by_cost([0, 1], thorough=[1]))
def test_compiled_runs_are_repeatable_and_refused_where_they_cannot_work(
    forked_tltool, fruit, tmp_path, head_epochs
):
    settings = merged(
        *TINY, "train.deterministic=false", "train.probe.enabled=false",
        f"train.head.epochs={head_epochs}", "train.finetune.epochs=1",
    )  # fmt: skip
    done = forked_tltool.run(PROGRAM, str(fruit), str(tmp_path), *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    usual, first, second, accumulated, rounded, late = json.loads(done.stdout.splitlines()[-1])
    assert first == second
    assert len({usual, first, accumulated}) == 3  # other roundings
    assert rounded == (
        "train.jit_compile computes in float32 on a CPU, and train.precision is bfloat16 here"
    )
    assert "deterministic operations were switched on earlier" in late


def test_determinism_and_xla_exclude_each_other():
    with pytest.raises(UsageError, match=r"train.jit_compile is true, but XLA cannot train"):
        check_recipe(resolve(load_recipe("vgg16", ["train.jit_compile=true"])))
