"""Tiny image folders for every test."""

from __future__ import annotations

import os
import subprocess
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
from PIL import Image

from tests.fork_server import Forked, ForkServer
from tltool.export import fresh_process
from tltool.export.export_formats import Runtime
from tltool.runs.manifest import Manifest
from tltool.runs.run_options import RunOptions

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
)
"""Settings of a run that leaves out what few tests are about."""
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
    assert all(case in cases for case in always)
    return [case if case in always else _thorough(case) for case in cases]


def _thorough(case: object) -> object:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.thorough)


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
    """Keep unpacked sources out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLTOOL_DATA_DIR", str(tmp_path_factory.mktemp("data-cache")))
        yield


# TensorFlow alone, as tltool/export/parity_child.py imports it
WITHOUT_KERAS = f"""
import runpy, sys
child = runpy.run_path({str(fresh_process.CHILD)!r}, run_name="child")
sys.meta_path.insert(0, child["ImportBlocker"](child["FORBIDDEN"]["saved_model"]))
"""
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
    server = ForkServer(["tensorflow"], before=WITHOUT_KERAS)
    yield server
    server.close()


@pytest.fixture(scope="session")
def forked_tltool() -> Iterator[ForkServer]:
    """A server of fresh processes with tltool and all that it works with."""
    server = ForkServer(TLTOOL)
    yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def _forked_checks(forked_tensorflow: ForkServer) -> Iterator[None]:
    """Fork the processes in which SavedModels are checked: importing takes longer than the check.

    In tests/export/test_parity.py they are real ones.
    """
    real = fresh_process.start_child

    def start_child(runtime: Runtime, said: IO[bytes]) -> subprocess.Popen[str] | Forked:
        if runtime != "saved_model":
            return real(runtime, said)
        return forked_tensorflow.start(
            f"import runpy; runpy.run_path({str(fresh_process.CHILD)!r}, run_name='__main__')",
            runtime,
            stdout=said,
            stderr=said,
            environment=fresh_process.environment(),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh_process, "start_child", start_child)
        yield


@pytest.fixture
def make_photos(tmp_path: Path) -> PhotoMaker:
    """Return ``make_photos(root=None, classes=…, n=6, size=48, extension=".jpg", seed=0)``.

    Without ``root`` it writes into ``tmp_path / "photos"``; it returns the folder written.
    """

    def make(root: Path | None = None, **options: object) -> Path:
        return write_photos(root or tmp_path / "photos", **options)

    return make
