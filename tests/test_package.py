"""What the package promises before anything is trained."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tltool

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("tensorflow", "keras", "keras_cv", "sklearn", "scipy", "matplotlib")

LISTINGS = [
    ["--help"],
    ["--version"],
    ["finetune", "--help"],
    ["predict", "--help"],
    ["evaluate", "--help"],
    ["recipes", "list"],
    ["recipes", "show", "vgg16"],
    ["weights", "list"],
    ["backbones"],
]


def heavy_after(code: str) -> list[str]:
    """Run ``code`` in a fresh process; return which heavy packages it has loaded."""
    check = f"import sys; {code}; print('#', *[m for m in {HEAVY!r} if m in sys.modules])"
    child = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    return child.stdout.rsplit("#", 1)[1].split()


@pytest.mark.parametrize("arguments", LISTINGS, ids=" ".join)
def test_help_and_listings_load_no_framework(arguments):
    run = f"from tltool.cli.main import app; app({arguments!r}, standalone_mode=False)"
    assert heavy_after(run) == []


def test_import_loads_no_framework():
    assert heavy_after("import tltool") == []


def test_public_names():
    assert tltool.__all__ == sorted(tltool.__all__)
    assert set(tltool.__all__) == {"__version__", "evaluate", "finetune", "predict"}


def test_public_names_are_functions():
    for name in set(tltool.__all__) - {"__version__"}:
        assert callable(getattr(tltool, name))


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="fine_tune"):
        _ = tltool.fine_tune


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip() and line[0] not in "#-"}


def test_locked_requirements_come_from_those_of_the_package():
    declared = set(pyproject()["project"]["dependencies"])
    tensorflow = {line for line in declared if line.startswith("tensorflow>")}
    assert requirements("runtime.in") == declared - tensorflow


def test_development_tools_are_locked():
    declared = set(pyproject()["project"]["optional-dependencies"]["dev"])
    assert declared <= requirements("dev.in")


@pytest.mark.parametrize("name", ["cpu", "gpu", "dev"])
def test_every_locked_package_has_hashes_and_no_address(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


@pytest.mark.parametrize(("name", "build"), [("cpu", "tensorflow-cpu"), ("gpu", "tensorflow")])
def test_each_lock_has_one_tensorflow(name, build):
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert re.findall(r"^(tensorflow(?:-cpu)?)==", text, flags=re.MULTILINE) == [build]
