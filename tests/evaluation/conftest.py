"""Pages in headless Chromium, where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import SIZES


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the page ``address``; any console message fails the test."""
    problems: list[str] = []
    contexts = []

    def open_page(size: str = "desktop", **options: Any) -> Any:
        contexts.append(browser.new_context(viewport=SIZES[size], **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: problems.extend([r.url] * r.url.startswith("http")))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
