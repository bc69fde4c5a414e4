"""Tiny image folders for every test."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process per core: its libraries need no more threads
    for threads in ("INTRAOP", "INTEROP"):
        os.environ.setdefault(f"TF_NUM_{threads}_THREADS", "1")
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # what tests read must not be wrapped

import numpy as np
import pytest
import typer.main
import typer.testing
from PIL import Image

from tests.fork_server import Forked, ForkServer
from tltool.export import fresh_process
from tltool.export.export_formats import Runtime
from tltool.runs.manifest import Manifest
from tltool.runs.run_options import RunOptions

gc.set_threshold(20_000, 10, 10)  # the default searches so often that it takes a tenth of the time

PhotoMaker = Callable[..., Path]


def small_manifest(**known: object) -> Manifest:
    """Return the manifest of a run of which only ``known`` matters."""
    fixed: dict[str, object] = {
        "name": "tiny",
        "status": "finished",
        "started": "2026-01-31T23:59:59Z",
        "recipe_digest": "0" * 64,
        "options": RunOptions("photos"),
        "versions": {},
        "lock_digest": "0" * 64,
        "machine": {},
        "flags": {},
    }
    return Manifest(**{**fixed, **known})


WITHOUT_EXTRAS = (
    "augment.policy=none",  # a second to trace it
    "evaluate.calibrate=false",
    "evaluate.label_errors=false",
    "evaluate.report=false",  # another second
    "train.refit=off",
)
"""Settings of a run that leaves out what few tests are about."""
ONLY_PROBE = ("train.head.epochs=0", "train.finetune.epochs=0")
"""Settings of a run that ends with the linear probe: no training step is traced."""
WITH_EXTRAS = (
    "augment.policy=auto",
    "evaluate.calibrate=true",
    "evaluate.label_errors=true",
    "evaluate.report=true",
)
"""Settings of a run that does it all, as recipes do where they say nothing else."""


def merged(*settings: str) -> list[str]:
    """Return ``KEY=VALUE`` settings without contradictions: the last one of a key stands."""
    return list({setting.partition("=")[0]: setting for setting in settings}.values())


def unless_thorough(cases: Sequence[object], *always: object) -> list[object]:
    """Return parameters of a test of which all but ``always`` are marked ``thorough``.

    A case of several parameters is a tuple.
    """
    return by_cost(cases, *always, thorough=cases)


def by_cost(cases: Sequence[object], *always: object, thorough: Sequence[object]) -> list[object]:
    """Return parameters of a test: ``always``, ``thorough``, and the others marked ``weekly``.

    A case of several parameters is a tuple.
    """
    assert all(case in cases for case in always)
    return [
        case if case in always else _marked(case, "thorough" if case in thorough else "weekly")
        for case in cases
    ]


def _marked(case: object, mark: str) -> object:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=getattr(pytest.mark, mark))


def picture(seed: int, size: tuple[int, int] = (48, 48), *, hue: int = 0) -> Image.Image:
    """Return a small RGB picture (width, height): a gradient in the colour ``hue`` plus noise.

    The same arguments give the same picture; another seed gives other content.
    """
    width, height = size
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 120, width)[np.newaxis, :] + np.linspace(0, 60, height)[:, np.newaxis]
    pixels = np.stack([ramp * 0.3] * 3, axis=-1)
    pixels[..., hue % 3] += 120
    pixels += rng.integers(0, 40, size=3) + rng.integers(0, 12, size=pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def flip_bit(path: Path, position: int) -> None:
    """Change one bit of the byte at ``position`` of a file, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(position)
        (value,) = file.read(1)
        file.seek(position)
        file.write(bytes([value ^ 4]))


def write_photos(
    root: Path,
    *,
    classes: Sequence[str] = ("cat", "dog"),
    n: int = 6,
    size: int | tuple[int, int] = 48,
    extension: str = ".jpg",
    seed: int = 0,
) -> Path:
    """Write ``n`` pictures per class into ``root/<class>/``; classes differ in colour."""
    shape = (size, size) if isinstance(size, int) else size
    for hue, label in enumerate(classes):
        folder = root / label
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(n):
            name = f"{seed}_{index:03d}{extension}"
            picture(10_000 * seed + 100 * hue + index, shape, hue=hue).save(folder / name)
    return root


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep unpacked sources and measured speeds out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLTOOL_DATA_DIR", str(tmp_path_factory.mktemp("data-cache")))
        patch.setenv("TLTOOL_MEASUREMENTS_DIR", str(tmp_path_factory.mktemp("measurements")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_built_once() -> Iterator[None]:
    """Build the commands from the functions' signatures once, not for each command line."""
    build = functools.cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", build)
        patch.setattr(typer.testing, "_get_command", build)
        yield


# the runtime alone, as tltool/export/parity_child.py imports it
BLOCKED = f"""
import runpy, sys
child = runpy.run_path({str(fresh_process.CHILD)!r}, run_name="child")
sys.meta_path.insert(0, child["ImportBlocker"](child["FORBIDDEN"]["%s"]))
"""
UNBLOCKED = """
import sys
sys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != "ImportBlocker"]
"""
"""For a server that goes on from one with ``BLOCKED``."""
TLTOOL = (
    "keras_cv",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "tltool.workflows.finetune",
    "tltool.workflows.evaluate",
)


@pytest.fixture(scope="session")
def forked_tensorflow() -> Iterator[ForkServer]:
    """A server of fresh processes with TensorFlow, which can import neither Keras nor tltool."""
    server = ForkServer(["tensorflow"], before=BLOCKED % "saved_model")
    yield server
    server.close()


@pytest.fixture(scope="session")
def forked_keras(forked_tensorflow: ForkServer) -> Iterator[ForkServer]:
    """A server of fresh processes with Keras, which cannot import tltool."""
    before = UNBLOCKED + BLOCKED % "keras"
    server = ForkServer(["keras"], before=before, parent=forked_tensorflow)
    yield server
    server.close()


@pytest.fixture(scope="session")
def forked_tltool(forked_keras: ForkServer) -> Iterator[ForkServer]:
    """A server of fresh processes with tltool and all that it works with."""
    server = ForkServer(TLTOOL, before=UNBLOCKED, parent=forked_keras)
    yield server
    server.close()


@pytest.fixture(scope="session")
def forked_cli() -> Iterator[ForkServer]:
    """A server of fresh processes with the command line and its first checks, no TensorFlow."""
    server = ForkServer(["tltool.cli.main", "tltool.workflows.preflight.run", "scipy.ndimage"])
    yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def _forked_checks(forked_tensorflow: ForkServer, forked_keras: ForkServer) -> Iterator[None]:
    """Fork the processes in which exports are checked: importing takes longer than the check.

    In tests/export/test_parity.py they are real ones.
    """
    real = fresh_process.start_child
    servers = {"saved_model": forked_tensorflow, "keras": forked_keras}

    def start_child(runtime: Runtime, said: IO[bytes]) -> subprocess.Popen[str] | Forked:
        if runtime not in servers:
            return real(runtime, said)
        return servers[runtime].start(
            f"import runpy; runpy.run_path({str(fresh_process.CHILD)!r}, run_name='__main__')",
            runtime,
            stdout=said,
            stderr=said,
            environment=fresh_process.environment(),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh_process, "start_child", start_child)
        yield


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_over() -> Iterator[None]:
    """Free what the tests of a file have left, above all TensorFlow's functions.

    The more functions a process holds, the longer it takes to build another one. What is there
    after the first file with TensorFlow is mostly its modules; it is never searched again.
    """
    yield
    if "tensorflow" in sys.modules:
        gc.collect()
        if not gc.get_freeze_count():
            gc.freeze()


@pytest.fixture(autouse=True)
def _cheap_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out of a run what costs most of its time in one process, and no test here looks at.

    - A new seed makes TensorFlow forget its kernels. The graph that decodes images is then built
      anew, which takes up to two seconds if the process holds many functions. tltool has no
      kernels that depend on the seed: its random numbers are stateless. Runs in processes of
      their own (tests/workflows/kills.py and others) show that it makes no difference.
    - The plots of a run are made, but not rendered. Those of session and module fixtures are, and
      tests/evaluation/test_plots.py looks at plots.
    """
    if "tensorflow" not in sys.modules:
        return
    from tensorflow.python.eager import context

    from tltool.workflows.training_run import finish

    monkeypatch.setattr(context.pywrap_tfe, "TFE_ContextClearCaches", lambda handle: None)
    for name in ("plot_confusion", "plot_history"):
        monkeypatch.setattr(finish, name, _not_rendered(getattr(finish, name)))


def _not_rendered(plot: Callable[..., None]) -> Callable[..., None]:
    """Return a function that plots like ``plot``, but writes a picture of one pixel."""
    from matplotlib.figure import Figure

    def save(figure: Figure, path: Path, **_: object) -> None:
        Image.new("RGB", (1, 1)).save(path)

    def plotted(*args: object, **kwargs: object) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", save)
            plot(*args, **kwargs)

    return plotted


@pytest.fixture
def make_photos(tmp_path: Path) -> PhotoMaker:
    """Return ``make_photos(root=None, classes=…, n=6, size=48, extension=".jpg", seed=0)``.

    Without ``root`` it writes into ``tmp_path / "photos"``; it returns the folder written.
    """

    def make(root: Path | None = None, **options: object) -> Path:
        return write_photos(root or tmp_path / "photos", **options)

    return make
