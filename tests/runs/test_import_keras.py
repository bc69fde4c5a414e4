"""The command line imports Keras without the packages that it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc, sys
from tltool.runs.keras_setup import claim_keras, import_keras
import tltool.workflows.prediction.options  # what a prediction imports before Keras
claim_keras()
import_keras()
print(sorted({"keras", "sklearn", "matplotlib", "pandas", "scipy"} & set(sys.modules)))
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
import matplotlib, pandas, scipy.ndimage, sklearn.linear_model
import keras
import pytest
print(keras.layers.Dense(2)(keras.ops.ones((1, 3))).shape)
"""


@pytest.mark.thorough
def test_the_packages_left_out_can_still_be_imported_afterwards():
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    packages, _, shape = process.stdout.splitlines()[:3]
    assert (packages, shape) == ("['keras']", "(1, 2)")


@pytest.mark.thorough
def test_garbage_collection_leaves_out_what_was_imported():
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[1] == "True True"
