"""What tests with real images and real weights need, and when a lack of it is a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tltool.errors import EnvironmentProblem
from tltool.events import SilentObserver


def _missing(what: str) -> None:
    """Skip the test; where the data was promised (in CI), fail it."""
    if os.environ.get("TLTOOL_REQUIRE_DATA"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """Folder with hymenoptera/ and flowers128/."""
    folder = Path(os.environ.get("TLTOOL_TEST_DATA", "/nonexistent"))
    if not (folder / "hymenoptera").is_dir() or not (folder / "flowers128").is_dir():
        _missing("TLTOOL_TEST_DATA names no folder with hymenoptera/ and flowers128/")
    return folder


@pytest.fixture(scope="session")
def vgg16_weights() -> Path:
    """File of the real VGG16 weights, fetched into the user's store once."""
    from tltool.weights.fetch_weights import obtain

    try:
        return obtain("vgg16", offline=False, observer=SilentObserver()).path
    except EnvironmentProblem as problem:
        _missing(f"no VGG16 weights: {problem}")
        raise
