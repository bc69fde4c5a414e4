"""The locked requirements against what the package declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def declared() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip() and line[0] not in "#-"}


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def test_the_locks_are_made_from_what_the_package_needs():
    needed = set(declared()["dependencies"])
    tensorflow = {line for line in needed if line.startswith("tensorflow>")}
    assert len(tensorflow) == 1
    assert requirements("runtime.in") == needed - tensorflow


def test_the_locks_hold_what_the_server_needs():
    wanted = set(declared()["optional-dependencies"]["serve"])
    assert requirements("serve.in") == wanted
    for name in ("cpu", "gpu", "dev"):
        assert all(f"\n{package.split('>')[0]}==" in lock(name) for package in wanted)


def test_development_tools_are_locked():
    assert set(declared()["optional-dependencies"]["dev"]) <= requirements("dev.in")


@pytest.mark.parametrize("name", ["build", "cpu", "gpu", "dev"])
def test_every_locked_package_has_hashes_and_no_address(name):
    packages = re.split(r"\n(?=\S)", lock(name).strip())
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in lock(name)


@pytest.mark.parametrize(
    ("name", "build"), [("cpu", "tensorflow-cpu"), ("dev", "tensorflow-cpu"), ("gpu", "tensorflow")]
)
def test_each_lock_has_one_tensorflow(name, build):
    assert re.findall(r"^(tensorflow(?:-cpu)?)==", lock(name), flags=re.MULTILINE) == [build]
