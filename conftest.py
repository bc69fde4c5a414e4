"""What tests with real images and real weights need, and when a lack of it is a failure."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tltool.errors import EnvironmentProblem
from tltool.events import SilentObserver

pytest_plugins = ["tests.cpu_time", "tests.browser", "tests.s3_server"]

# Property tests check the same examples every time, however slow the machine is, so that a failure
# in CI is caused by the change. TLTOOL_NEW_EXAMPLES=1 searches for others.
hypothesis.settings.register_profile(
    "tltool", deadline=None, derandomize="TLTOOL_NEW_EXAMPLES" not in os.environ
)
hypothesis.settings.load_profile("tltool")

LONG = ("slow", "thorough", "weekly")
EXPENSIVE_FIXTURES = ("trained", "live", "exported", "browser")
"""Session fixtures that take seconds: tests that share one run in one process."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group the tests by process, so that no shared fixture is built twice, slow groups first.

    The last groups are then short, and no process works alone at the end.
    """
    changing = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if changing:
        raise pytest.UsageError(f"an address in the name of a test differs by process: {changing}")
    slow: Counter[str] = Counter()
    for item in items:
        slow[_group(item)] += any(map(item.get_closest_marker, LONG))
    items.sort(key=lambda item: -slow[_group(item)])  # a stable sort
    if getattr(config.option, "loadgroup", False):
        for item in items:
            _name_group(item, _group(item))


def _name_group(item: pytest.Item, group: str) -> None:
    """Put the group behind the test's name, where the scheduler of xdist reads it.

    xdist 3.8 writes it into an attribute that pytest 9.2, unlike 9.1, does not read.
    """
    old: Any = getattr(item, "_id", None)
    if old is not None:
        item._id = type(old).parse(f"{item.nodeid}@{group}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Stop if the scheduler has no groups: each process would build the shared fixtures."""
    if node.config.getoption("dist") == "loadgroup" and not all("@" in test for test in ids):
        raise pytest.UsageError("xdist does not see the groups of tests, see _name_group")


def _group(item: pytest.Item) -> str:
    names = getattr(item, "fixturenames", ())
    shared = next((name for name in EXPENSIVE_FIXTURES if name in names), None)
    return f"{item.path.parent.name}/{shared or item.path.name}"


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
