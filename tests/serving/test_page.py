"""What the page promises without a browser: its parts fit together, and each has a name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest


class Page(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(name="page")
def _page(live) -> Page:
    return Page(live.get("/").body.decode())


def test_the_script_finds_every_part_that_it_asks_for(live, page):
    script = live.get("/page.js").body.decode()
    ids = {attributes.get("id") for _, attributes in page.elements} - {None}
    classes = {name for _, a in page.elements for name in (a.get("class") or "").split()}
    tags = {tag for tag, _ in page.elements}
    assert set(re.findall(r'part\("(\w+)"\)', script)) <= ids
    wanted = re.findall(r'querySelector\("([.\w]+)"\)', script)
    assert wanted and {one.removeprefix(".") for one in wanted} <= classes | tags


def test_what_can_be_operated_has_a_name_and_pictures_have_a_text(page):
    (entry,) = page.all("input")
    assert [label["for"] for label in page.all("label")] == [entry["id"]]
    assert all("alt" in image for image in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"
    assert "role" in next(a for _, a in page.elements if a.get("id") == "status")


def test_phones_show_it_at_their_own_width(page):
    (viewport,) = [meta for meta in page.all("meta") if meta.get("name") == "viewport"]
    assert viewport["content"] == "width=device-width, initial-scale=1"


def test_the_script_builds_nothing_from_text(live):
    """A file name or a class name can then never become a part of the page."""
    script = live.get("/page.js").body.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script)
