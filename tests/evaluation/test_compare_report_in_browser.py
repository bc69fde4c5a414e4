"""The report of a comparison in headless Chromium: self-contained and accessible."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.browser import SIZES
from tests.conftest import picture
from tltool.evaluation.metrics.paired_tests import compare_with_first, verdict
from tltool.evaluation.report.compare_report import Example, Gallery, compare_page

pytestmark = pytest.mark.browser
NAMES = ("quick-20261121-101500", "vgg16-with-quite-a-long-name-20261121-113000", "kaki 柿")


@pytest.fixture(name="address", scope="module")
def _address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three runs, and galleries with and without images."""
    folder = tmp_path_factory.mktemp("comparison")
    right = np.random.default_rng(0).random((3, 153)) < [[0.8], [0.95], [0.9]]
    paired = compare_with_first(right[0], list(right[1:]))
    cost = {"parameters": 14_715_714, "megabytes": 56.1, "milliseconds": 38.4}
    more_of_each: tuple[dict[str, Any], ...] = (
        {"paired": None, "cost": SimpleNamespace(**cost, train_seconds=812.0)},
        {"paired": paired[0], "cost": SimpleNamespace(**cost, train_seconds=None)},
        {"paired": paired[1], "cost": None},
    )
    rows = [
        {"name": name, "accuracy": "0.810", "interval": "0.741 to 0.864", **more}
        for name, more in zip(
            NAMES,
            more_of_each,
            strict=True,
        )
    ]
    examples = []
    for number in range(5):
        file = folder / f"{number}.jpg"
        if number:  # the first is gone
            picture(number, (90, 60)).save(file)
        long = "a/folder/of/many/words/" * 3
        examples.append(Example(f"{long}{number}.jpg", file, "bees", 0.9, "ants", 0.6))
    verdicts = [verdict(NAMES[0], NAMES[n], paired[n - 1]) for n in (1, 2)]
    galleries = [
        Gallery(NAMES[1], NAMES[0], 70, examples),
        Gallery(NAMES[0], NAMES[1], 0, ()),
        Gallery(NAMES[2], NAMES[0], 4, examples[1:]),
        Gallery(NAMES[0], NAMES[2], 1, examples[:1]),
    ]
    page = folder / "comparison.html"
    page.write_text(compare_page(rows, verdicts, galleries, n=153), "utf-8")
    return page.as_uri()


def test_its_images_are_visible_and_nothing_else_may_be_loaded(opened):
    page = opened()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    visible = page.evaluate(
        "async () => { for (const i of document.images) { i.loading = 'eager'; await i.decode(); }"
        "return [...document.images].filter((i) => i.naturalWidth > 0).length }"
    )
    assert visible == 8 and page.get_by_text("no image").count() == 2
    rule = page.locator('meta[http-equiv="Content-Security-Policy"]').get_attribute("content")
    assert rule is not None and rule.startswith("default-src 'none'")


def test_a_script_in_it_would_not_run(browser, address):
    """The page's own content security policy forbids it."""
    page = browser.new_page()
    page.goto(address)
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s) }"
    )
    assert page.evaluate("window.ran") is None
    page.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, serious_violations, size, scheme):
    assert serious_violations(opened(size, color_scheme=scheme, bypass_csp=True)) == []


def test_a_phone_scrolls_in_one_direction_only(opened):
    page = opened("phone")
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"]["width"]
