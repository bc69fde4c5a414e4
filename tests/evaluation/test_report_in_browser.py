"""report.html in headless Chromium: it works, it fits a phone, everyone can use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.evaluation.made_up import whole
from tltool.evaluation.report.page import write_report

pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 700}}


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(name="address", scope="module")
def _address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    write_report(path, whole(folder / "photos", ("apple", "kaki 柿", "plum"), n=14))
    return path.as_uri()


@pytest.fixture(name="opened")
def _opened(browser: Any, address: str) -> Iterator[Any]:
    """Return a function that opens the page; anything on the console fails the test."""
    troubles: list[str] = []
    contexts = []

    def open_page(size: str = "desktop", **options: Any) -> Any:
        contexts.append(browser.new_context(viewport=SIZES[size], **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda r: r.url.startswith("http") and troubles.append(r.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def column(page: Any, number: int) -> list[str]:
    """Return each cell of a column of the table of classes."""
    rows = "[...document.querySelectorAll('table.sortable tbody tr')]"
    return page.evaluate(f"number => {rows}.map(row => row.cells[number].innerText)", number)


def test_a_number_shows_its_photos_by_mouse_and_by_keyboard(opened):
    page = opened()
    cell = page.get_by_role("button", name="3 of apple named kaki 柿")
    cell.hover()
    cell.click()
    gallery = page.locator("#gallery")
    assert gallery.locator("h3").inner_text() == "3 of apple, named kaki 柿"
    assert gallery.locator("img").count() == 3
    assert cell.get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="14 of plum named plum").press("Enter")
    assert gallery.locator("img").count() == 14
    assert page.evaluate("document.activeElement.textContent") == "14 of plum, named right"
    assert page.locator('[aria-pressed="true"]').count() == 1


def test_the_table_of_classes_sorts_by_every_column_both_ways(opened):
    page = opened()
    recall = page.locator("table.sortable").get_by_role("button", name="recall")
    recall.click()
    assert column(page, 0)[0] == "apple"
    assert column(page, 3) == sorted(column(page, 3))
    recall.press("Enter")
    assert column(page, 3) == sorted(column(page, 3), reverse=True)
    assert page.locator('th[aria-sort="descending"]').inner_text().startswith("recall")
    page.locator("table.sortable").get_by_role("button", name="class").click()
    assert column(page, 0) == ["apple", "kaki 柿", "plum"]
    assert page.locator("th[aria-sort]").count() == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, size, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(size, color_scheme=scheme, bypass_csp=True)
    page.get_by_role("button", name="3 of apple named kaki 柿").click()
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_phone_scrolls_in_one_direction_only(opened):
    page = opened("phone")
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"]["width"]


def test_print_shows_everything_but_the_navigation(opened):
    page = opened()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("#card").is_visible() and page.locator("pre").is_visible()


def test_without_scripts_everything_but_the_photos_of_a_number_is_there(opened):
    page = opened(java_script_enabled=False)
    assert page.locator(".mistakes img").count() == 5
    assert page.locator("#gallery").is_hidden()
