"""A review in headless Chromium: by keyboard alone, with undo, a reload in the middle, a phone."""

from __future__ import annotations

import pytest

from tests.browser import SIZES

pytestmark = pytest.mark.browser


def decisions(live) -> list[tuple[str, str]]:
    return [(row.action, row.new_label) for row in live.rows]


def test_labels_are_reviewed_by_keyboard_on_desktop_and_phone(start, browser, serious_violations):
    live = start()
    problems: list[str] = []
    page = browser.new_context(viewport=SIZES["desktop"], bypass_csp=True).new_page()
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(live.address)
    page.wait_for_function("document.getElementById('file').textContent.startsWith('1 / 5')")
    keys = page.keyboard.press
    keys("a")
    page.wait_for_function("document.getElementById('file').textContent.startsWith('2 / 5')")
    keys("c")
    page.keyboard.type("kak")
    keys("Enter")
    page.wait_for_function("document.getElementById('count').textContent == '2 of 5 decided'")
    keys("x")
    keys("z")
    page.wait_for_function("document.getElementById('count').textContent == '2 of 5 decided'")
    page.wait_for_function("document.getElementById('file').textContent.startsWith('3 / 5')")
    page.reload()
    page.wait_for_function("document.getElementById('file').textContent.startsWith('3 / 5')")
    assert decisions(live) == [
        ("relabel", "dog"),
        ("relabel", "kaki 柿"),
        ("exclude", ""),
        ("undo", ""),
    ]
    assert serious_violations(page) == []
    keys("g")
    page.locator(".tile").nth(2).click()
    page.locator(".tile").nth(4).click(modifiers=["Shift"])
    keys("u")
    page.wait_for_function("document.getElementById('count').textContent == '5 of 5 decided'")
    assert decisions(live)[4:] == [("unsure", "")] * 3
    # after a click Enter accepts, and undo withdraws what it has accepted
    page.locator(".tile").nth(1).click()
    keys("Enter")
    second = "document.querySelectorAll('.tile .done')[1].textContent"
    page.wait_for_function(f"{second}.includes('dog')")
    keys("z")
    page.wait_for_function(f"{second}.includes('kaki')")
    page.set_viewport_size(SIZES["phone"])
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"]["width"]
    keys("g")
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"]["width"]
    assert serious_violations(page) == []
    page.context.close()
    assert problems == []


def test_two_tabs_lose_no_decision(start, browser):
    live = start()
    context = browser.new_context(viewport=SIZES["desktop"], bypass_csp=True)
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(live.address)
        tab.wait_for_function("document.getElementById('file').textContent.startsWith('1 / 5')")
    first, second = tabs
    first.keyboard.press("a")
    first.wait_for_function("document.getElementById('file').textContent.startsWith('2 / 5')")
    second.keyboard.press("ArrowRight")
    second.wait_for_function("document.getElementById('file').textContent.startsWith('2 / 5')")
    second.keyboard.press("x")
    for tab in tabs:
        tab.wait_for_function("document.getElementById('file').textContent.length > 0")
        tab.reload()
        tab.wait_for_function("document.getElementById('count').textContent == '2 of 5 decided'")
    assert decisions(live) == [("relabel", "dog"), ("exclude", "")]
    context.close()
