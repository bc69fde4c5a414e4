"""Headless Chromium, where it is installed: one for all tests of a module."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 700}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium; stop it after the module.

    While it is open, the main thread holds the event loop of Playwright: ``asyncio.run`` in a
    test of another module would fail, so it never outlives its own.
    """
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def serious_violations() -> Callable[[Any], list[Any]]:
    """Return a function that runs axe on a page opened with ``bypass_csp=True``."""
    from axe_playwright_python.sync_playwright import Axe

    def found(page: Any) -> list[Any]:
        return [
            (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
            for one in Axe().run(page).response["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    return found
