"""Several devices train like one; a process each, since devices precede TensorFlow's start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import unless_thorough
from tests.fork_server import ForkServer

PRELUDE = """
import json, sys
import keras, numpy as np, tensorflow as tf
from tests.training.mirrored import *
"""
REGULARIZED = {"l2": 0.01, "clip_norm": 0.2, "max_norm": 0.9}


def answer(server: ForkServer, program: str, *arguments: str) -> Any:
    """Return what a program prints last, as JSON."""
    done = server.run(PRELUDE + program, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("count", "options"),
    [
        # the other cases change something of this plan, and little
        pytest.param(2, {}, marks=pytest.mark.thorough),
        pytest.param(4, {"optimizer": "adamw", "mixed": True}, marks=pytest.mark.thorough),
        (2, {**REGULARIZED, "micro_batch": 3}),
        pytest.param(
            *(4, {**REGULARIZED, "micro_batch": 5, "optimizer": "adamw"}),
            marks=pytest.mark.thorough,
        ),
        pytest.param(2, {"norm": "frozen", "unfreeze_every": 1}, marks=pytest.mark.thorough),
        (2, {"norm": "sync_batch"}),
        pytest.param(
            *(2, {"class_weights": None, "epochs": 6, "patience": 1, "min_delta": 0.01}),
            marks=pytest.mark.thorough,
        ),
    ],
    ids=str,
)
def test_several_devices_give_the_weights_of_one(forked_tltool, count, options):
    program = "print(json.dumps(differences(int(sys.argv[1]), json.loads(sys.argv[2]))))"
    found = answer(forked_tltool, program, str(count), json.dumps(options))
    epochs = found["epochs"]
    assert epochs[0] == epochs[1]
    assert (epochs[0] < options.get("epochs", 2)) == ("patience" in options)
    assert found["measures"] < 1e-5
    assert found["weights"] < 2e-5


RESUMED = [
    {"micro_batch": 5, "precision": "float16"},
    {"micro_batch": 5},
    {"precision": "float16"},
]


@pytest.mark.thorough
@pytest.mark.parametrize("more", unless_thorough(RESUMED, RESUMED[0]), ids=str)
def test_a_run_on_two_devices_resumes_as_if_it_had_not_been_interrupted(forked_tltool, more):
    options = {"norm": "batch", "dropout": 0.5, **more}
    program = "print(json.dumps(resumed(2, json.loads(sys.argv[1]))))"
    assert answer(forked_tltool, program, json.dumps(options))


@pytest.mark.thorough
def test_moving_statistics_are_the_mean_over_the_devices(forked_tltool):
    assert answer(forked_tltool, "print(statistics_of_devices(2))") < 1e-5


@pytest.mark.thorough
def test_the_range_test_on_two_devices_gives_the_losses_of_one_and_restores_both(forked_tltool):
    found = answer(forked_tltool, "print(json.dumps(range_tests(2)))")
    assert found["restored"]
    assert found["losses"] < 1e-5


@pytest.mark.parametrize("count", [1, 2, pytest.param(4, marks=pytest.mark.thorough)])
def test_an_overflow_on_one_device_skips_the_step_on_all(forked_tltool, count):
    found = answer(forked_tltool, f"print(json.dumps(overflow({count})))")
    assert found["unchanged"]
    assert found["finite"]
    assert all(found["trained"])
    first, then = found["factors"]
    assert then == first / 2


def test_each_device_draws_its_own_masks_and_the_first_those_of_one_device(forked_tltool):
    program = """
from tltool.augment.keras_cv_operations import DropPath
from tltool.models.dropout import DropBlock, DropConnectDense
drawn = masks(2, {
    "dropout": lambda: keras.layers.Dropout(0.5, seed=1),
    "gaussian": lambda: keras.layers.GaussianDropout(0.5, seed=1),
    "alpha": lambda: keras.layers.AlphaDropout(0.5, seed=1),
    "stochastic depth": lambda: DropPath(0.5, seed=1),
    "drop block": lambda: DropBlock(0.3, 2, seed=1),
    "drop connect": lambda: DropConnectDense(4, 0.5, seed=1, kernel_initializer="ones"),
})
print(json.dumps(drawn))
"""
    drawn = answer(forked_tltool, program)
    assert len(drawn) == 6
    assert drawn == {name: [True, True] for name in drawn}
