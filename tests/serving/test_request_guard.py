"""The browser next door: other names, pages of other origins, and the token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.export.tiny_classifier import encoded
from tests.serving.conftest import SETTINGS
from tests.serving.live_server import Live, serving, versions_of
from tltool.errors import UsageError
from tltool.serving.listener import listen
from tltool.serving.settings import parse_hosts, read_token

ORIGIN, TOKEN = "http://localhost:3000", "0123456789abcdef-XYZ"


@pytest.fixture(scope="module")
def guarded(exported: Path) -> Iterator[Live]:
    """A server with a token, of which a page of another origin may use everything."""
    settings = replace(
        SETTINGS, cors=(ORIGIN,), allow_hosts=("digits.example",), check_host=True, token=TOKEN
    )
    with serving(versions_of(exported.parent), settings) as running:
        yield running


def status(live: Live, headers: dict[str, str], path: str = "/v1/classify") -> int:
    sent = {"Authorization": f"Bearer {TOKEN}", **headers}
    sent = {key: value.replace("PORT", str(live.port)) for key, value in sent.items()}
    if path == "/v1/classify":
        return live.ask("POST", path, encoded(0), sent).status
    return live.ask("GET", path, None, sent).status


@pytest.mark.parametrize("host", ["evil.example", "evil.example:PORT", "127.0.0.1.evil.example",
                                  "127.0.0.2", "[::2]:PORT", "0.0.0.0", "x@localhost"])  # fmt: skip
def test_another_name_is_misdirected(guarded: Live, host: str) -> None:
    assert status(guarded, {"Host": host}) == 421
    assert status(guarded, {"Host": host}, "/healthz") == 421


@pytest.mark.parametrize("host", ["localhost:PORT", "LocalHost", "127.0.0.1", "[::1]:PORT",
                                  "digits.example:443", "digits.example."])  # fmt: skip
def test_the_own_names_are_answered(guarded: Live, host: str) -> None:
    assert status(guarded, {"Host": host}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3001"},
        {"Origin": "http://127.0.0.1:PORT.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3001"},
    ],
)
def test_a_page_of_another_origin_is_refused(guarded: Live, headers: dict[str, str]) -> None:
    assert status(guarded, headers) == 403
    assert status(guarded, headers, "/metrics") == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:PORT"},
        {"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "same-origin"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://d.example", "X-Forwarded-Host": "d.example"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_own_pages_and_allowed_origins_are_answered(guarded: Live, headers: dict[str, str]) -> None:
    assert status(guarded, headers) == 200


def test_a_link_on_another_site_may_open_the_page_only(guarded: Live) -> None:
    link = {
        "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document",
    }  # fmt: skip
    assert status(guarded, link, "/") == 200
    assert status(guarded, link) == 403


def test_other_sites_may_not_embed_a_response(live: Live) -> None:
    assert live.get("/healthz").headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("value", ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
                                   f"Basic {TOKEN}", TOKEN, "Bearer \xe9"])  # fmt: skip
def test_a_request_without_the_token_is_unauthorized(guarded: Live, value: str) -> None:
    for path in ("/v1/models", "/metrics", "/", "/v1/classify"):
        answer = guarded.ask("GET", path, None, {"Authorization": value})
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_health_checks_need_no_token_and_the_scheme_is_read_in_any_case(guarded: Live) -> None:
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert guarded.get(path).status == 200
    assert status(guarded, {"Authorization": f"bearer  {TOKEN}"}) == 200


def test_a_preflight_of_an_allowed_origin_needs_no_token(guarded: Live) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert guarded.ask("OPTIONS", "/v1/classify", None, headers).status == 200


@pytest.mark.parametrize("first", ["Content-Length: 5\r\nTransfer-Encoding: chunked",
                                   "Transfer-Encoding: chunked\r\nContent-Length: 5"])  # fmt: skip
def test_a_request_with_two_ends_is_refused_and_the_connection_closed(
    live: Live, first: str
) -> None:
    import socket

    second = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n{first}\r\n\r\n"
        connection.sendall(head.encode() + second)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_server_of_the_loopback_address_is_known() -> None:
    for host, expected in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        with listen(host, 0) as listener:
            assert listener.is_loopback is expected


@pytest.mark.parametrize("value", ["http://a.example", "a.example:80", "a/b", "a b", ""])
def test_a_host_is_a_name_only(value: str) -> None:
    with pytest.raises(UsageError, match="--allow-host"):
        parse_hosts([value])


def test_names_of_hosts_may_be_separated_by_commas() -> None:
    assert parse_hosts(["A.example, ::1", "*", "a.example"]) == ("a.example", "::1", "*")


@pytest.mark.parametrize("content", [b"", b"short", b"a b" * 9, b"\xff" * 20, b"a" * 5000])
def test_a_file_without_a_token_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UsageError, match=r"/t' holds no token"):
        read_token(tmp_path / "t")


def test_a_token_file_may_end_with_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "t") == TOKEN
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "none")
