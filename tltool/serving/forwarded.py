"""The address of the server as clients see it, behind a reverse proxy."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tltool.serving.settings import URL_PATH

_MAX_PREFIX = 200  # characters


class ForwardedAddress:
    """Middleware that sets the path prefix and the scheme that a reverse proxy reports.

    ``X-Forwarded-Prefix`` is the path under which the proxy publishes the server, such as
    ``/digits``; of several proxies the parts are joined, as Spring and Traefik do. The proxy may
    remove the prefix from the path of the request or not. ``X-Forwarded-Proto`` is the scheme of
    the client. Both have an effect on addresses in the response only, so that any client may send
    them; other values are ignored.

    Args:
        app: the application.
        path_prefix: without the header; empty for none.
    """

    def __init__(self, app: ASGIApp, path_prefix: str = "") -> None:
        self._app = app
        self._path_prefix = path_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            prefix = forwarded_prefix(headers.get("x-forwarded-prefix", "")) or self._path_prefix
            scheme = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
            scope = {**scope, "root_path": prefix, "path": _with_prefix(scope["path"], prefix)}
            if scheme in ("http", "https"):
                scope["scheme"] = scheme
        await self._app(scope, receive, send)


def forwarded_prefix(value: str) -> str:
    """Return the path prefix of a header ``X-Forwarded-Prefix``; "" without a valid one.

    Examples:
        >>> forwarded_prefix("/models/, /digits")
        '/models/digits'
    """
    if len(value) > _MAX_PREFIX:
        return ""
    prefix = "".join(one.strip().rstrip("/") for one in value.split(","))
    return prefix if URL_PATH.fullmatch(prefix) else ""


def route_path(scope: Scope) -> str:
    """Return the path of a request without the prefix."""
    path, prefix = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _with_prefix(path: str, prefix: str) -> str:
    """Return the path with its prefix, as ASGI wants it, also if the proxy has removed it."""
    return path if path == prefix or path.startswith(f"{prefix}/") else prefix + path
