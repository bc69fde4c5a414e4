"""Health checks, metrics, headers, the OpenAPI description and the page."""

from __future__ import annotations

import http.client
import re
import statistics
import time

import pytest

from tests.export.tiny_classifier import encoded


def test_a_running_server_is_live_and_ready(live):
    assert live.get("/healthz").json == {"status": "ok"}
    assert live.get("/readyz").json == {"status": "ready", "version": "1"}


def test_metrics_are_in_prometheus_format(live):
    live.classify(encoded(1))
    text = live.get("/metrics").body.decode()
    assert 'tltool_requests_total{route="/v1/classify",status="200"}' in text
    assert "tltool_model_version 1.0" in text
    assert "tltool_batch_items_bucket" in text


def test_the_openapi_description_has_every_route(live):
    paths = live.get("/openapi.json").json["paths"]
    assert {"/v1/classify", "/v1/models/{name}:predict", "/healthz", "/readyz"} <= set(paths)


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/favicon.svg"])
def test_the_page_loads_nothing_from_other_hosts(live, path):
    answer = live.get(path)
    assert answer.status == 200
    assert not re.findall(r"""(?:src|href|url\()=?["']?(?:https?:)?//""", answer.body.decode())


def test_the_page_has_no_inline_script_or_style(live):
    text = live.get("/").body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", text)


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nothing", "/v1/models/x"])
def test_every_response_has_security_headers_and_no_server_name(live, path):
    headers = {name.lower(): value for name, value in live.get(path).headers.items()}
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_no_response_contains_a_folder_of_the_server(live, exported):
    paths = ["/v1/models", "/v1/models/tiny", "/v1/models/tiny/metadata", "/metrics", "/nothing"]
    for path in [*paths, "/../../etc/passwd", "/page.js/../x"]:
        assert str(exported.parent.parent).encode() not in live.get(path).body


def test_a_kept_connection_waits_for_no_acknowledgement(live):
    """Header and body are two packets; Nagle's algorithm would delay the second by 40 ms."""
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
    connection.close()
    assert statistics.median(seconds) < 0.03
