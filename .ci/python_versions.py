"""Check the project with every Python version in the classifiers of pyproject.toml.

``compile`` compiles all code with each version, with warnings as errors, without writing files.
``test MARKERS`` runs the tests that depend on the Python version with each version other than the
current one, in an environment with locked packages. ``wheel`` installs the wheel in ``dist`` with
each version as a user would, and lets it train, export and predict. A version without an
interpreter or environment is skipped with a message on standard output. The exit code is 1 if
something does not compile or a test fails.

Interpreters come from ``PATH``, from pyenv, or from ``uv python install``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = (".ci", "benchmarks", "conftest.py", "docker", "docs", "tests", "tltool")
# Most tests run TensorFlow, whose code is the same for each Python, and take half an hour on two
# cores. These use what differs between Pythons: archives, CSV, files, locks, text, dataclasses and
# type hints; and one run trains, evaluates, exports, and is answered by a fresh process.
TESTS = (
    "tests/test_package.py",
    "tests/test_locks.py",
    "tests/recipe",
    "tests/runs",
    "tests/weights/test_torch_file.py",
    "tests/weights/test_files_of_others.py",
    "tests/weights/test_weights_store.py",
    "tests/cli/test_commands.py",
    "tests/cli/test_display.py",
    "tests/cli/test_errors.py",
    "tests/cli/test_bad_methods.py",
    "tests/data/test_archives.py",
    "tests/data/test_folder.py",
    "tests/data/test_grouping.py",
    "tests/data/test_odd_bytes.py",
    "tests/data/test_split.py",
    "tests/data/test_tables.py",
    "tests/workflows/test_finetune.py::test_a_run_folder_holds_everything",
    "tests/workflows/test_finetune.py::test_the_export_answers_in_a_process_of_plain_tensorflow",
)
WHEEL_COMMANDS = (
    ("--version",),
    (
        *("finetune", "photos", "--recipe", "docker_smoke", "--out", "run", "--name", "smoke"),
        *("--export-to", "models", "--offline", "--quiet", "--no-tensorboard"),
    ),
    ("predict", "models/smoke", "photos/class 0/0.pgm"),
    ("export", "--check", "models/smoke"),
)
UV = (sys.executable, "-m", "uv", "--quiet")
WHICH = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
COMPILE = """
import pathlib, sys
failed = False
for name in sys.argv[1:]:
    path = pathlib.Path(name)
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        try:
            compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        except Exception as problem:
            failed = True
            print("Python %d.%d:" % sys.version_info[:2], file, repr(problem))
sys.exit(failed)
"""


class Unavailable(Exception):
    """An interpreter or its environment cannot be had on this machine."""


def main(arguments: Sequence[str]) -> int:
    """Run ``compile``, ``test`` or ``wheel`` and return the exit code."""
    versions = named_versions()
    if arguments == ["compile"]:
        return _for_each("syntax", versions, compile_tree)
    if arguments == ["wheel"]:
        return _for_each("wheel", versions, use_wheel)
    if len(arguments) == 2 and arguments[0] == "test":
        others = [version for version in versions if version != _own()]
        return _for_each("tests", others, partial(run_tests, markers=arguments[1]))
    sys.stderr.write("usage: python_versions.py compile | test MARKERS | wheel\n")
    return 2


def named_versions() -> list[str]:
    """Return the versions of pyproject.toml's classifiers, such as ``["3.11", "3.12"]``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier)
        for classifier in project["classifiers"]
    ]
    return [match[1] for match in found if match]


def compile_tree(version: str) -> bool:
    """Return whether every file compiles; print those that do not."""
    command = [interpreter(version), "-I", "-W", "error", "-c", COMPILE, *TREE]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def run_tests(version: str, *, markers: str) -> bool:
    """Return whether ``TESTS`` with these markers pass in an environment of the version's own.

    What pytest prints is printed at its end, because the versions are tested side by side.
    """
    python = environment(version)
    command = [python, "-m", "pytest", "-q", "-m", markers, *TESTS]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout, flush=True)
    return done.returncode == 0


def environment(version: str) -> str:
    """Make or update ``.venv-VERSION`` from the lock and return its Python.

    Raises:
        Unavailable: there is no interpreter, or a package cannot be installed.
    """
    folder = ROOT / f".venv-{version}"
    python = str(folder / "bin" / "python")
    _uv("venv", "--allow-existing", "--python", interpreter(version), str(folder))
    install = ("pip", "install", "--python", python)
    _uv(*install, "--require-hashes", "-r", "requirements/build.txt")
    _uv(*install, "--require-hashes", "--no-build-isolation", "-r", "requirements/dev.txt")
    _uv(*install, "--no-deps", "--no-build-isolation", "--editable", ".")
    return python


def use_wheel(version: str) -> bool:
    """Return whether the wheel, installed with ``[cpu]``, trains, exports and predicts.

    Raises:
        Unavailable: there is no interpreter or no wheel, or a package cannot be installed.
    """
    (text,) = re.findall(r'__version__ = "(.*)"', (ROOT / "tltool/__init__.py").read_text("utf-8"))
    wheel = ROOT / "dist" / f"tltool-{text}-py3-none-any.whl"
    if not wheel.is_file():
        raise Unavailable(f"there is no {wheel.relative_to(ROOT)}; build it with make wheel")
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder) / "environment" / "bin"
        _uv("venv", "--python", interpreter(version), str(programs.parent))
        python = ("--python", str(programs / "python"))
        # the versions of the lock, but only what the metadata of the wheel asks for
        _uv("pip", "install", *python, "--constraint", "requirements/cpu.txt", f"{wheel}[cpu]")
        for number in range(20):
            write_image(Path(folder) / "photos" / f"class {number % 2}" / f"{number}.pgm", number)
        return all(_works([programs / "tltool", *command], folder) for command in WHEEL_COMMANDS)


def _works(command: Sequence[str | Path], folder: str) -> bool:
    """Return whether a command succeeds without variables of Python; print what it says if not."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(*command, done.stdout, flush=True)
    return done.returncode == 0


def write_image(path: Path, number: int) -> None:
    """Write a grey image of 32 x 32 pixels: bright on the left, or on the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = bytes(200 - number if (x < 16) is (number % 2 == 0) else number for x in range(32))
    path.write_bytes(b"P5 32 32 255\n" + row * 32)


def interpreter(version: str) -> str:
    """Return the path of a Python of this version.

    Raises:
        Unavailable: none was found, and none could be installed.
    """
    if version == _own():
        return sys.executable
    name = f"python{version}"
    on_path = [shutil.which(name, path=folder) for folder in os.get_exec_path()]
    for candidate in (*filter(None, on_path), *_managed(version)):
        if found := _answers(candidate, version):
            return found
    raise Unavailable(f"no {name} on PATH, and uv python install {version} failed")


def _managed(version: str) -> Iterator[str]:
    """Yield the path of uv's own Python, installed first where it is missing."""
    try:
        _uv("python", "install", "--no-bin", version, UV_HTTP_RETRIES="0")
        yield _uv("python", "find", "--managed-python", version)
    except Unavailable:
        return


def _answers(candidate: str, version: str) -> str:
    """Return where the interpreter lies, or an empty string if it does not run or is another."""
    # python3.13 may be a shim of pyenv, which runs nothing unless the version is selected
    selected = {**os.environ, "PYENV_VERSION": version}
    try:
        done = subprocess.run(
            [candidate, "-c", WHICH], env=selected, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    is_version, _, path = done.stdout.strip().partition(" ")
    return path if done.returncode == 0 and is_version == version else ""


def _uv(*arguments: str, **variables: str) -> str:
    """Run uv with environment variables added and return what it prints.

    Raises:
        Unavailable: it failed.
    """
    command = [*UV, *arguments]
    variables = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unavailable(f"uv {arguments[0]} failed: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def _own() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def _for_each(what: str, versions: Sequence[str], check: Callable[[str], bool]) -> int:
    """Check all versions at once, say how it went, and return the exit code."""

    def checked(version: str) -> bool:
        start = time.monotonic()
        try:
            good = check(version)
        except Unavailable as problem:
            print(f"Python {version}: {what} SKIPPED, {problem}", flush=True)
            return True
        took = time.monotonic() - start
        result = "passed" if good else "FAILED"
        print(f"Python {version}: {what} {result} ({took:.0f} s)", flush=True)
        return good

    with ThreadPoolExecutor(max(len(versions), 1)) as threads:
        return 0 if all(list(threads.map(checked, versions))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
