"""The web page, checked without a browser: its parts match, and controls have labels."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.export.tiny_classifier import encoded
from tests.serving.live_server import form


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
    selectors = re.findall(r'querySelector\("([.\w]+)"\)', script)
    assert selectors and {one.removeprefix(".") for one in selectors} <= classes | tags


def test_the_script_reads_fields_that_the_api_returns(live):
    script = live.get("/page.js").body.decode()
    fields = {name: set(re.findall(rf"\b{name}\.(\w+)", script)) for name in ("model", "result")}
    (model,) = live.get("/v1/models").json["models"]
    body, kind = form({"a.png": encoded(1), "b.txt": b"junk"})
    classified, failed = live.classify(body, kind).json["results"]
    assert {"takes_images", "explains"} <= fields["model"] <= set(model)
    assert {"ok", "error", "top"} <= fields["result"]
    # the exported model has no OOD detector
    assert fields["result"] <= {*classified, *failed, "is_known"}


def test_controls_have_labels_and_images_have_an_alt_text(page):
    (entry,) = page.all("input")
    assert [label["for"] for label in page.all("label")] == [entry["id"]]
    assert all("alt" in image for image in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"
    assert "role" in next(a for _, a in page.elements if a.get("id") == "status")


def test_the_viewport_is_set_for_phones(page):
    (viewport,) = [meta for meta in page.all("meta") if meta.get("name") == "viewport"]
    assert viewport["content"] == "width=device-width, initial-scale=1"


def test_the_script_builds_nothing_from_text(live):
    """A file name or a class name can then never become a part of the page."""
    script = live.get("/page.js").body.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script)
