"""The bill of materials and the third-party notices: what they hold, and what fails their check."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".ci" / "supply_chain.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_notices_hold_name_version_licence_and_its_text(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text(
        f"pillow=={version('pillow')} \\\n    --hash=sha256:00\n"
        'numpy==0.0.1 ; python_full_version < "3.2"\n'
        f"numpy=={version('numpy')} ; python_full_version >= '3.2'\n"
        "a-package-for-windows==1.0\n"
    )
    done = run("notices", tmp_path / "lock.txt")
    assert done.returncode == 0, done.stderr
    assert f"pillow {version('pillow')}\nLicence: MIT-CMU" in done.stdout
    assert "Permission to use, copy, modify and distribute this software" in done.stdout
    assert f"numpy {version('numpy')}\nLicence: BSD" in done.stdout
    assert "windows" not in done.stdout


def test_notices_of_other_versions_than_those_of_the_lock_fail(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("pillow==0.1\n")
    done = run("notices", tmp_path / "lock.txt")
    assert done.returncode == 1
    assert f"pillow is {version('pillow')} here, not 0.1" in done.stderr


def test_every_package_of_the_image_names_its_licence() -> None:
    locks = [ROOT / "requirements" / name for name in ("build.txt", "cpu.txt")]
    done = run("notices", *locks)
    assert "names no licence" not in done.stderr
    assert "tensorflow-cpu" in done.stdout


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        ("Numpy==2.1\ntltool==0.1\npip==23\n", ""),
        ("numpy==2.2\n", "numpy 2.2 is installed, but not in the SBOM"),
        ("numpy==2.1\nleft_pad==1.0\n", "left-pad 1.0 is installed, but not in the SBOM"),
    ],
)
def test_an_image_that_holds_something_else_fails(
    tmp_path: Path, installed: str, message: str
) -> None:
    sbom = {"bomFormat": "CycloneDX", "components": [{"name": "numpy", "version": "2.1"}]}
    (tmp_path / "sbom.json").write_text(json.dumps(sbom))
    (tmp_path / "installed").write_text(installed)
    done = run("check", tmp_path / "sbom.json", tmp_path / "installed")
    assert done.returncode == bool(message)
    assert done.stderr.strip() == message
