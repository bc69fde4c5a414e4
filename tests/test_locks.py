"""The locked requirements against what the package declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def declared() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip() and line[0] not in "#-"}


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def test_the_locks_are_made_from_what_the_package_needs():
    assert requirements("runtime.in") == set(declared()["dependencies"])


def test_only_the_extras_cpu_and_gpu_install_a_tensorflow():
    extras = declared()["optional-dependencies"]
    others = {name: lines for name, lines in extras.items() if name not in ("cpu", "gpu")}
    for lines in (declared()["dependencies"], *others.values()):
        assert not [line for line in lines if re.match(r"tensorflow(-cpu)?[\[<>=; ]", line)]


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("platform", "machine"),
    [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")],
)
def test_an_extra_installs_one_tensorflow_on_each_machine(extra, platform, machine):
    lines = declared()["optional-dependencies"][extra]
    environment = {"sys_platform": platform, "platform_machine": machine}
    packages = [Requirement(line) for line in lines]
    chosen = [one for one in packages if not one.marker or one.marker.evaluate(environment)]
    assert len(chosen) == 1
    has_cpu_wheels = machine in ("x86_64", "AMD64")
    assert (chosen[0].name == "tensorflow-cpu") == (extra == "cpu" and has_cpu_wheels)


def test_tensorflow_and_keras_are_capped_after_the_locked_minor_version():
    project = declared()
    lines = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    caps = {Requirement(line).name: Requirement(line).specifier for line in lines}
    for name in ("tensorflow-cpu", "keras"):
        major, minor = re.search(rf"^{name}==(\d+)\.(\d+)", lock("cpu"), re.MULTILINE).groups()
        assert f"{major}.{minor}.99" in caps[name]
        assert f"{major}.{int(minor) + 1}" not in caps[name]


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
    ("name", "builds"),
    [
        ("cpu", ["tensorflow", "tensorflow-cpu"]),
        ("dev", ["tensorflow", "tensorflow-cpu"]),
        ("gpu", ["tensorflow"]),
    ],
)
def test_each_lock_has_one_tensorflow_for_each_machine(name, builds):
    pinned = re.findall(r"^(tensorflow(?:-cpu)?)==\S+ ?;? ?(.*?) ?\\$", lock(name), re.MULTILINE)
    assert [package for package, _ in pinned] == builds
    intel = {"sys_platform": "linux", "platform_machine": "x86_64"}
    assert sum(not marker or Marker(marker).evaluate(intel) for _, marker in pinned) == 1
