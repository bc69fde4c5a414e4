"""The page of `tltool serve` in headless Chromium: classifies an image, and is accessible."""

from __future__ import annotations

import pytest

from tests.browser import SIZES
from tests.export.tiny_classifier import encoded

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_an_image_is_classified_and_axe_finds_nothing_serious(
    live, browser, serious_violations, size
):
    page = browser.new_context(viewport=SIZES[size], bypass_csp=True).new_page()
    page.goto(f"http://127.0.0.1:{live.port}/")
    image = {"name": "a name.png", "mimeType": "image/png", "buffer": encoded(1)}
    page.set_input_files("input[type=file]", [image])
    page.wait_for_selector("#results .bars li")
    assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size]["width"]
    page.context.close()
