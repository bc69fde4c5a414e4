"""Refuses requests that a web page of another site makes a browser send, and ambiguous ones."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tltool.serving.forwarded import route_path
from tltool.serving.settings import Settings

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
HEALTH_PATHS = ("/healthz", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready")
"""Answered without a token, for the checks of load balancers and Kubernetes."""

_AMBIGUOUS = "Content-Length and Transfer-Encoding must not be sent together"
_CLOSE = {"Connection": "close"}


class RequestGuard:
    """Middleware that answers only its own names and its own pages.

    - 400 for a request whose length a proxy may understand differently (RFC 9112, section 6.3).
    - 421 for a Host that is not a name of the server: a page whose name was pointed at the loopback
      address (DNS rebinding) would otherwise read everything.
    - 403 for a request that a page of another origin has sent, unless its origin is allowed.

    Args:
        app: the application.
        settings: with the names and origins that are allowed.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._hosts = {_bare(name) for name in (*LOOPBACK_NAMES, *settings.allow_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refused = self._refuse(headers, scope["method"])
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refuse(self, headers: Headers, method: str) -> JSONResponse | None:
        if "content-length" in headers and "transfer-encoding" in headers:
            return _error(400, _AMBIGUOUS, _CLOSE)
        hosts = headers.getlist("host")
        if len(hosts) > 1:
            return _error(400, "A request must have one Host", _CLOSE)
        host = hosts[0] if hosts else ""
        if self._settings.check_host and not self._is_own(host):
            return _error(421, "This is not a name of the server; allow it with --allow-host")
        if not self._is_allowed_page(headers, host, method):
            return _error(403, "The page is of another origin; allow it with --cors")
        return None

    def _is_own(self, host: str) -> bool:
        return "*" in self._hosts or not host or _bare(host) in self._hosts

    def _is_allowed_page(self, headers: Headers, host: str, method: str) -> bool:
        origin = headers.get("origin", "").lower()
        if origin and ("*" in self._settings.cors or origin in self._settings.cors):
            return True
        site = headers.get("sec-fetch-site", "")
        if site == "cross-site":
            return method in ("GET", "HEAD") and _is_link(headers)
        if not origin or site == "same-origin":
            return True
        names = [host, *headers.get("x-forwarded-host", "").split(",")]
        return urlsplit(origin).netloc in {name.strip().lower() for name in names if name.strip()}


class TokenCheck:
    """Middleware that answers 401 to requests without the token (RFC 6750, section 3).

    Args:
        app: the application.
        token: of the header ``Authorization: Bearer TOKEN``.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and route_path(scope) not in HEALTH_PATHS:
            kind, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
            same = hmac.compare_digest(value.strip().encode("latin-1", "replace"), self._token)
            if kind.lower() != "bearer" or not same:
                refused = _error(401, "A valid token is required", {"WWW-Authenticate": "Bearer"})
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_link(headers: Headers) -> bool:
    """Whether the user follows a link to the page; the other site cannot read what is shown."""
    return headers.get("sec-fetch-mode") == "navigate" and (
        headers.get("sec-fetch-dest") == "document"
    )


def _bare(host: str) -> str:
    """Return the name of a host in lower case, without its port and without brackets.

    Examples:
        >>> _bare("[::1]:8501"), _bare("LOCALHOST:8501")
        ('::1', 'localhost')
    """
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name if name.count(":") > 1 else name.partition(":")[0].rstrip(".")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)
