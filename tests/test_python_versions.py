"""The Python versions that the project names, and the check that its files compile on each."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(".ci/python_versions.py")
OWN = "{}.{}".format(*sys.version_info[:2])


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def named() -> list[str]:
    return [
        name.rpartition(" ")[2]
        for name in project()["classifiers"]
        if re.search(r"Python :: 3\.", name)
    ]


def check(tree: Path, *versions: str) -> subprocess.CompletedProcess:
    """Compile a tree that names these versions."""
    classifiers = [f"Programming Language :: Python :: {version}" for version in versions]
    (tree / "pyproject.toml").write_text(f"[project]\nclassifiers = {classifiers}\n")
    command = [sys.executable, str(tree / PROGRAM), "compile"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a project without any code but the program itself."""
    for folder in (".ci", "benchmarks", "docker", "docs", "tests", "tltool"):
        (tmp_path / folder).mkdir()
    (tmp_path / "conftest.py").touch()
    shutil.copy(ROOT / PROGRAM, tmp_path / PROGRAM)
    return tmp_path


def test_every_place_names_the_same_versions():
    first, *_, last = named()
    assert OWN in named()
    assert project()["requires-python"] == f">={first}"
    for page in ("README.md", "docs/quickstart.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert f"Python {', '.join(named()[:-1])} or {last}" in text
    for page in ("requirements/README.md", "docs/docker.md", "docs/decisions/README.md"):
        assert f"Python {first} to {last}" in (ROOT / page).read_text(encoding="utf-8")


def test_a_tree_that_compiles_passes_and_stays_as_it_is(tree):
    (tree / "tltool" / "good.py").write_text("answer = 42\n")
    before = sorted(tree.rglob("*"))
    done = check(tree, OWN)
    assert done.returncode == 0, done.stdout
    assert f"Python {OWN}: syntax passed" in done.stdout
    assert {path for path in tree.rglob("*") if path.name != "pyproject.toml"} == set(before)


@pytest.mark.parametrize(
    ("text", "problem"),
    [('pattern = "\\d"\n', "invalid escape"), ("def f(:\n", "SyntaxError")],
)
def test_a_file_with_a_wrong_escape_or_syntax_is_named(tree, text, problem):
    (tree / "tests" / "bad.py").write_text(text)
    done = check(tree, OWN)
    assert done.returncode == 1
    assert "tests/bad.py" in done.stdout
    assert problem in done.stdout
    assert f"Python {OWN}: syntax FAILED" in done.stdout


def test_a_version_without_an_interpreter_is_skipped_aloud(tree):
    done = check(tree, OWN, "3.99")
    assert done.returncode == 0
    assert f"Python {OWN}: syntax passed" in done.stdout
    assert re.search(r"Python 3\.99: syntax SKIPPED, no python3\.99 on PATH", done.stdout)
