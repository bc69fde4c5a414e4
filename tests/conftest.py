"""Tiny image folders for every test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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

PhotoMaker = Callable[..., Path]


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


def unless_thorough(cases: Sequence[str], *always: str) -> list[object]:
    """Return parameters of a test of which all but ``always`` are marked ``thorough``."""
    assert set(always) <= set(cases)
    return [
        case if case in always else pytest.param(case, marks=pytest.mark.thorough) for case in cases
    ]


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


@pytest.fixture
def make_photos(tmp_path: Path) -> PhotoMaker:
    """Return ``make_photos(root=None, classes=…, n=6, size=48, extension=".jpg", seed=0)``.

    Without ``root`` it writes into ``tmp_path / "photos"``; it returns the folder written.
    """

    def make(root: Path | None = None, **options: object) -> Path:
        return write_photos(root or tmp_path / "photos", **options)  # type: ignore[arg-type]

    return make
