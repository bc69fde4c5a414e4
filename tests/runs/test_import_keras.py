"""The command line imports Keras without the packages that it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc, sys
from tltool.runs.keras_setup import (
    claim_keras, import_keras, import_scikit_learn, prepare_with,
)
import tltool.workflows.prediction.options  # what a prediction imports before Keras
claim_keras()
import_keras()
print(sorted({"keras", "sklearn", "matplotlib", "pandas", "scipy", "IPython"} & set(sys.modules)))
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
import_scikit_learn()
print("sklearn" in sys.modules)
prepare_with(lambda: None)  # as the command line does
import_scikit_learn()
print(sorted({"sklearn.linear_model", "pandas", "matplotlib"} & set(sys.modules)))
import matplotlib, pandas, scipy.ndimage, sklearn.linear_model
import keras
import pytest
print(keras.layers.Dense(2)(keras.ops.ones((1, 3))).shape)
"""


@pytest.fixture(scope="module")
def printed() -> list[str]:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    return process.stdout.splitlines()


@pytest.mark.thorough
def test_the_packages_left_out_can_still_be_imported_afterwards(printed: list[str]):
    packages, _, _, _, shape = printed
    assert (packages, shape) == ("['keras']", "(1, 2)")


@pytest.mark.thorough
def test_scikit_learn_is_imported_without_pandas_by_the_command_line_only(printed: list[str]):
    assert printed[2:4] == ["False", "['sklearn.linear_model']"]


@pytest.mark.thorough
def test_garbage_collection_leaves_out_what_was_imported(printed: list[str]):
    assert printed[1] == "True True"
