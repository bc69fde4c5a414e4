"""The browser next door: other names, other origins, and requests without the token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.attack_kinds.hostile_images import photo
from benchmarks.attack_kinds.outcome import Outcome
from benchmarks.attack_kinds.served_model import ask, tiny_server

NAMES, PAGES, TOKENS = "other names of the server", "pages of other origins", "no valid token"
PATHS = ("/v1/models", "/v1/classify", "/metrics")
FOREIGN_HOSTS = (
    "evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example",
    "evil.example#127.0.0.1", "127.0.0.1@evil.example", "0.0.0.0:{port}", "[::ffff:127.0.0.1]",
    "192.168.0.7:{port}", "127.0.0.2:{port}", "localhos", "*",
)  # fmt: skip
OWN_HOSTS = ("127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "localhost.")
OTHER_SITE = {"Sec-Fetch-Site": "cross-site"}
FOREIGN_PAGES: tuple[Mapping[str, str], ...] = (
    {"Origin": "http://evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://evil.example:{port}"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1.evil.example:{port}"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
    {"Origin": "http://127.0.0.1:{port}@evil.example"},
    {"Origin": "file://"},
    OTHER_SITE,
    {**OTHER_SITE, "Origin": "http://evil.example"},
    {**OTHER_SITE, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {**OTHER_SITE, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    {**OTHER_SITE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
)
OWN_PAGES: tuple[Mapping[str, str], ...] = (
    {},
    {"Origin": "http://127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://digits.example", "X-Forwarded-Host": "digits.example"},
)
TOKEN = "a-token-of-more-than-16-letters"
WRONG_TOKENS: tuple[Mapping[str, str], ...] = (
    {}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "},
    {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer {TOKEN.upper()}"}, {"Authorization": "Bearer \xe9\xff"},
    {"X-Authorization": f"Bearer {TOKEN}"}, {"Cookie": f"token={TOKEN}"},
)  # fmt: skip


def attacks(folder: Path) -> Iterator[Outcome]:
    """Send requests with the headers of browsers."""
    with tiny_server(folder) as server:
        yield from _names(server.port)
        yield from _pages(server.port)
    secret = folder / "token"
    secret.write_text(f"{TOKEN}\n")
    with tiny_server(folder, ["--token", str(secret), "--allow-host", "digits.example"]) as server:
        yield from _tokens(server.port)


def _names(port: int) -> Iterator[Outcome]:
    for name in FOREIGN_HOSTS:
        for path in PATHS:
            yield _try(NAMES, port, path, {"Host": name}, refused=(421, 400))
    for name in OWN_HOSTS:
        yield _try(NAMES, port, PATHS[1], {"Host": name}, refused=())


def _pages(port: int) -> Iterator[Outcome]:
    for headers in FOREIGN_PAGES:
        for path in PATHS:
            yield _try(PAGES, port, path, headers, refused=(403,))
    for headers in OWN_PAGES:
        yield _try(PAGES, port, PATHS[1], headers, refused=())
    for method in ("OPTIONS", "PUT", "DELETE"):
        headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        yield _try(PAGES, port, PATHS[1], headers, refused=(403,), method=method)


def _tokens(port: int) -> Iterator[Outcome]:
    for headers in WRONG_TOKENS:
        for path in (*PATHS, "/"):
            yield _try(TOKENS, port, path, headers, refused=(401,))
    right = {"Authorization": f"Bearer {TOKEN}"}
    yield _try(TOKENS, port, PATHS[1], right, refused=())
    yield _try(TOKENS, port, PATHS[1], {**right, "Host": "digits.example"}, refused=())
    yield _try(TOKENS, port, "/healthz", {}, refused=())


def _try(
    kind: str,
    port: int,
    path: str,
    headers: Mapping[str, str],
    *,
    refused: tuple[int, ...],
    method: str | None = None,
) -> Outcome:
    """Send a request that must be refused with one of the statuses; without any, be answered."""
    sent = {key: value.replace("{port}", str(port)) for key, value in headers.items()}
    body = photo() if path.endswith("classify") else None
    answer = ask(port, path, body, sent, method=method)
    held = answer.status in (refused or (200,))
    shown = ", ".join(f"{key}: {value}" for key, value in headers.items()) or "no header"
    return Outcome(kind, f"{method or ''} {path} {shown}".strip(), held, str(answer.status))
