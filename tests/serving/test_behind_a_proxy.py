"""A path prefix, another scheme, other origins and idle connections."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.serving.conftest import SETTINGS
from tests.serving.live_server import Live, serving, versions_of
from tltool.errors import UsageError
from tltool.serving.forwarded import forwarded_prefix
from tltool.serving.settings import parse_origins, parse_path_prefix

ORIGIN = "http://localhost:3000"


@pytest.fixture(scope="module")
def published(exported) -> Iterator[Live]:
    """A server that a proxy publishes below /models/tiny, and that a page may use."""
    settings = replace(SETTINGS, path_prefix="/models/tiny", cors=(ORIGIN,), idle_seconds=1.0)
    with serving(versions_of(exported.parent), settings) as running:
        yield running


class Addresses(HTMLParser):
    """Collects the addresses of a page, as a browser resolves them."""

    def __init__(self, page: str, address: str) -> None:
        super().__init__()
        self.base, self.found = address, []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        address = attributes.get("href") or attributes.get("src")
        if tag == "base":
            self.base = urljoin(self.base, address)
        elif address:
            self.found.append(urljoin(self.base, address))


@pytest.mark.parametrize(
    ("address", "prefix", "stripped"),
    [
        ("http://h/", None, ""),
        ("http://h/digits/", None, "/digits"),
        ("http://h/digits", "/digits", "/digits"),
        ("http://h/a/b/", "/a, /b", "/a/b"),
        ("http://h/a/b/", "/a/b/", "/a/b"),
    ],
)
def test_the_addresses_of_the_page_stay_below_the_prefix(live, address, prefix, stripped):
    headers = {} if prefix is None else {"X-Forwarded-Prefix": prefix}
    page = live.ask("GET", "/", None, headers).body.decode()
    found = Addresses(page, address).found
    assert len(found) == 4
    for one in found:
        assert one.startswith(f"http://h{stripped}/")
        assert live.get(one.removeprefix(f"http://h{stripped}")).status == 200


def test_the_script_sends_requests_relative_to_the_page(live):
    script = live.get("/page.js").body.decode()
    addresses = re.findall(r"""fetch\(["`]([^"`?]+)""", script)
    assert sorted(addresses) == ["v1/classify", "v1/explain", "v1/models", "v1/statistics"]
    assert 'new URL("v1/classify", document.baseURI)' in script


@pytest.mark.parametrize("prefix", ["//evil.org", '/"><script>', "evil", "/a b", "/" + "x" * 300])
def test_a_prefix_that_is_no_path_is_ignored(live, prefix):
    plain = live.get("/").body
    assert live.ask("GET", "/", None, {"X-Forwarded-Prefix": prefix}).body == plain


@pytest.mark.parametrize("kept", ["", "/digits"])
def test_every_route_works_with_and_without_the_prefix_in_the_path(live, kept):
    headers = {"X-Forwarded-Prefix": "/digits", "X-Forwarded-Proto": "https", "Host": "h"}
    for path in ("/v1/models", "/readyz", "/v2", "/page.css"):
        assert live.ask("GET", kept + path, None, headers).status == 200
    assert live.ask("GET", f"{kept}/v1/nope", None, headers).error == (
        "Malformed request: GET /v1/nope"
    )
    moved = live.ask("GET", f"{kept}/v1/models/tiny/", None, headers)
    assert moved.status == 307
    assert moved.headers["location"] == "https://h/digits/v1/models/tiny"
    servers = live.ask("GET", f"{kept}/openapi.json", None, headers).json["servers"]
    assert servers == [{"url": "/digits"}]
    assert "servers" not in live.get("/openapi.json").json


def test_a_proxy_that_sends_no_header_needs_the_option(published):
    assert published.get("/models/tiny/v1/models").status == 200
    assert published.get("/v1/models").status == 200
    assert b'<base href="/models/tiny/">' in published.get("/models/tiny/").body


def test_a_program_that_wants_json_gets_the_liveness_of_kserve(live):
    answer = live.ask("GET", "/", None, {"Accept": "application/json"})
    assert answer.json == {"status": "alive", "name": "tiny"}
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    assert live.ask("GET", "/", None, browser).body.startswith(b"<!doctype html>")


def preflight(live: Live, origin: str) -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,inference-header-content-length",
    }
    return live.ask("OPTIONS", "/v1/models/tiny:predict", None, headers)


def test_only_pages_of_the_given_origins_may_read_responses(published, live):
    allowed = preflight(published, ORIGIN)
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "inference-header" in allowed.headers["access-control-allow-headers"]
    read = published.ask("GET", "/v1/models", None, {"Origin": ORIGIN})
    assert read.headers["access-control-allow-origin"] == ORIGIN
    for answer in (preflight(published, "http://evil.org"), preflight(live, ORIGIN)):
        assert answer.status >= 400
        assert "access-control-allow-origin" not in answer.headers
    other = published.ask("GET", "/v1/models", None, {"Origin": "http://evil.org"})
    assert "access-control-allow-origin" not in other.headers


def test_an_idle_connection_lives_as_long_as_the_option_says(published):
    connection = http.client.HTTPConnection("127.0.0.1", published.port, timeout=30)
    connection.connect()
    connection.auto_open = 0
    for _ in range(2):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        time.sleep(0.5)
    time.sleep(1.2)
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.request("GET", "/healthz")
        connection.getresponse()


def test_the_default_is_longer_than_that_of_usual_balancers():
    assert SETTINGS.idle_seconds > 60


@pytest.mark.parametrize(
    ("value", "prefix"),
    [("/a", "/a"), ("/a/,/b/", "/a/b"), ("/", ""), ("", ""), ("/a//b", ""), ("a/b", "")],
)
def test_prefixes_of_proxies(value, prefix):
    assert forwarded_prefix(value) == prefix


def test_origins_of_the_option():
    given = ["https://Example.org, http://[::1]:80", "*", "https://example.org"]
    assert parse_origins(given) == ("https://example.org", "http://[::1]:80", "*")
    for wrong in ("example.org", "https://example.org/", "https://a.org/page", "", "null", "http:"):
        with pytest.raises(UsageError, match="is not an origin"):
            parse_origins([wrong])


def test_path_prefixes_of_the_option():
    assert parse_path_prefix("/a/b/") == "/a/b"
    assert parse_path_prefix("") == parse_path_prefix("/") == ""
    for wrong in ("a", "//a", "/a?b", "/a b"):
        with pytest.raises(UsageError, match="is not a path"):
            parse_path_prefix(wrong)
