"""report.html in headless Chromium: it works, fits a phone and is accessible."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import SIZES
from tests.evaluation.synthetic_report import full_report, row
from tltool.evaluation.report.charts import training_curves
from tltool.evaluation.report.evaluation_report import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(name="address", scope="module")
def _address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    write_report(path, full_report(folder / "photos", ("apple", "kaki 柿", "plum"), n=14))
    return path.as_uri()


def column(page: Any, number: int) -> list[str]:
    """Return each cell of a column of the table of classes."""
    rows = "[...document.querySelectorAll('table.sortable tbody tr')]"
    return page.evaluate(f"number => {rows}.map(row => row.cells[number].innerText)", number)


def test_a_number_shows_its_images_by_mouse_and_by_keyboard(opened):
    page = opened()
    cell = page.get_by_role("button", name="3 of apple predicted as kaki 柿")
    cell.hover()
    cell.click()
    gallery = page.locator("#gallery")
    assert gallery.locator("h3").inner_text() == "3 of apple, predicted as kaki 柿"
    assert gallery.locator("img").count() == 3
    assert cell.get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="14 of plum predicted as plum").press("Enter")
    assert gallery.locator("img").count() == 14
    assert page.evaluate("document.activeElement.textContent") == "14 of plum, correct"
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
def test_axe_finds_nothing_serious(opened, serious_violations, size, scheme):
    page = opened(size, color_scheme=scheme, bypass_csp=True)
    page.get_by_role("button", name="3 of apple predicted as kaki 柿").click()
    assert serious_violations(page) == []


def test_a_phone_scrolls_in_one_direction_only(opened):
    page = opened("phone")
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"]["width"]


def test_the_name_of_a_phase_is_clear_of_the_points(opened):
    """The first epoch of a phase is often its highest point, close to the name of the phase."""
    rows = [row("head", epoch, 1.1 - epoch / 10, 0.9, 0.3, 0.9) for epoch in range(1, 11)]
    page = opened()
    style = page.locator("style").inner_html()
    charts = "".join(training_curves([row("probe", 0, None, None, 0.4, 0.8), *rows], 3))
    page.set_content(f"<style>{style}</style><div class=charts>{charts}</div>")
    boxes = """(what) => [...document.querySelectorAll(what)].map((each) => {
      const { left, right, top, bottom } = each.getBoundingClientRect();
      return [left, right, top, bottom];
    })"""
    names, points = (page.evaluate(boxes, what) for what in (".chart .phase", ".chart circle"))
    assert names and points
    assert not [
        (name, point)
        for name in names
        for point in points
        if point[0] < name[1] and point[1] > name[0] and point[2] < name[3] and point[3] > name[2]
    ]


def test_no_number_of_an_axis_is_cut_off(opened):
    """Values that hardly differ have ticks with many digits."""
    rows = [row("head", epoch, 0.0123, 0.9725, 0.0125 + epoch / 1e5, 0.9765) for epoch in (1, 2)]
    page = opened()
    style = page.locator("style").inner_html()
    charts = "".join(training_curves([row("probe", 0, None, None, 0.0122, 0.9735), *rows], 2))
    page.set_content(f"<style>{style}</style><div class=charts>{charts}</div>")
    left = """() => [...document.querySelectorAll('.chart text')].map((each) =>
      [each.textContent, each.getBBox().x])"""
    texts = page.evaluate(left)
    assert any(text.count(".") and text.endswith(" %") for text, _ in texts)
    assert not [text for text, x in texts if x < 0]


def test_a_phone_cuts_no_table_but_the_one_of_classes(opened):
    page = opened("phone")
    wide = page.evaluate(
        """[...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth)
        .map((e) => e.getAttribute("aria-label"))"""
    )
    assert wide == ["Table of classes"]


def test_print_shows_everything_but_the_navigation(opened):
    page = opened()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("#card").is_visible() and page.locator("pre").is_visible()


def test_without_scripts_only_the_images_of_a_number_are_missing(opened):
    page = opened(java_script_enabled=False)
    assert page.locator(".errors img").count() == 5
    assert page.locator("#gallery").is_hidden()
