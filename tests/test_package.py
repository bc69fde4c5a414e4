"""The package as a whole: what it offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tltool
from tests.conftest import unless_thorough

LIGHT = [
    ("--help",),
    ("--version",),
    ("finetune", "--help"),
    ("recipes", "list"),
    ("recipes", "show", "quick", "--resolved"),
    ("recipes", "validate", "quick", "scratch"),
    ("backbones", "list"),
    ("weights", "list"),
    ("finetune", "nowhere", "--set", "trian.ema=1"),
]
PROGRAM = """
import sys
from tltool.cli.main import run
try:
    run()
except SystemExit:
    pass
heavy = {"tensorflow", "keras", "keras_cv", "sklearn", "matplotlib"} & set(sys.modules)
sys.exit("loaded " + ", ".join(sorted(heavy)) if heavy else 0)
"""


@pytest.mark.parametrize(
    ("command",),
    unless_thorough([(one,) for one in LIGHT], (LIGHT[0],), (LIGHT[-1],)),
    ids=" ".join,
)
def test_light_commands_load_no_framework(command):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_no_framework():
    program = "import sys, tltool; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_the_public_names_are_pinned():
    functions = ["adopt", "apply_corrections", "check_data", "compare", "evaluate", "explain"]
    functions += ["finetune", "load", "monitor", "predict", "reproduce", "resume", "split_data"]
    functions += ["suggest"]
    assert tltool.__all__ == ["KerasObjects", "Recipe", "__version__", *functions]
    assert dir(tltool) == sorted(tltool.__all__)
    for name in ("KerasObjects", "Recipe", *functions):
        assert callable(getattr(tltool, name))
        assert getattr(tltool, name).__doc__


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="tltool"):
        _ = tltool.finetun


WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = None\n"


def test_without_tensorflow_a_command_says_what_to_install():
    program = f"{WITHOUT_TENSORFLOW}from tltool.cli.main import run\nrun()"
    command = [sys.executable, "-c", program, "backbones", "show", "vgg16"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert "TensorFlow is not installed" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_tensorflow_the_python_api_says_what_to_install():
    program = f"{WITHOUT_TENSORFLOW}import tltool; tltool.finetune"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "EnvironmentProblem: TensorFlow is not installed" in done.stderr
    assert "hint: " in done.stderr
