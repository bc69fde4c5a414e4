"""Sockets on which the server listens: TCP addresses of both families, or a Unix socket."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import EnvironmentProblem, TltoolError, UsageError, one_line

BACKLOG = 1024  # connections that wait until the server accepts them
_LAST_PORT = 65535
_ATTEMPTS = 16  # to find a port that is free in both families
_LOOPBACK = ("127.0.0.1", "::1")
_MISSING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
_EVERYONE = 0o666  # permission to connect to a Unix socket, as on a port of the loopback address
Address = tuple[socket.AddressFamily, tuple[Any, ...]]


@dataclass(frozen=True)
class Listener:
    """Bound sockets; a context manager that closes them.

    Attributes:
        host: as the user gave it, without brackets; the path of a Unix socket.
        sockets: one per address, with the same port.
        path: of a Unix socket, which is removed at the end; None for TCP.
    """

    host: str
    sockets: tuple[socket.socket, ...]
    path: Path | None = None

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.sockets:
            one.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    @property
    def port(self) -> int:
        """The port of all sockets; 0 for a Unix socket."""
        return int(self.sockets[0].getsockname()[1]) if self.path is None else 0

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect to the TCP sockets."""
        names = [one.getsockname()[0] for one in self.sockets if one.family != socket.AF_UNIX]
        return all(ipaddress.ip_address(name).is_loopback for name in names)

    @property
    def url(self) -> str:
        """The URL of the server."""
        if self.path is not None:
            return f"unix:{self.path}"
        name = "localhost" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://[{name}]:{self.port}" if ":" in name else f"http://{name}:{self.port}"

    def start(self) -> None:
        """Let clients connect; the server handles their requests as soon as it runs.

        Raises:
            EnvironmentProblem: another process has taken the port meanwhile.
        """
        for one in self.sockets:
            try:
                one.listen(BACKLOG)
            except OSError as error:
                raise _port_problem(self.host, self.port, error) from None


def listen(host: str, port: int) -> Listener:
    """Return sockets bound to ``port`` at every address of ``host``; port 0 takes any free one.

    ``localhost`` is the loopback address of both families, whichever comes first in /etc/hosts
    (RFC 6761, section 6.3), ``::`` also accepts IPv4, and an IPv6 address may be in brackets. A
    family that the machine does not have is left out.

    Raises:
        EnvironmentProblem: the port is in use, or not permitted for this user.
        UsageError: there is no such host.

    Examples:
        >>> with listen("localhost", 0) as listener:
        ...     print(listener.url)
        http://localhost:42507
    """
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    addresses = _addresses(name, port)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Listener(name, _bind_all(name, port, addresses))
        except EnvironmentProblem:
            # a free port of one family may be in use in the other
            if port or attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _addresses(host: str, port: int) -> list[Address]:
    names = _LOOPBACK if host.lower() == "localhost" else (host,)
    if not host:
        raise _no_such_address(host)
    found: dict[Address, None] = {}
    for name in names:
        try:
            infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue
        found |= {(family, address): None for family, _, _, _, address in infos}
    if not found:
        raise _no_such_address(host)
    return list(found)


def _bind_all(host: str, port: int, addresses: list[Address]) -> tuple[socket.socket, ...]:
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            number = port or (sockets[0].getsockname()[1] if sockets else 0)
            bound = _bind(family, (address[0], number, *address[2:]))
            if bound is not None:
                sockets.append(bound)
        if not sockets:
            raise _no_such_address(host)
    except TltoolError:
        for one in sockets:
            one.close()
        raise
    return tuple(sockets)


def _bind(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket | None:
    """Return a bound socket; None if the machine does not have the family or the address."""
    try:
        # asyncio turns Nagle's algorithm off (40 ms per request) only if the protocol is given
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError:
        return None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno in _MISSING:
            return None
        raise _port_problem(address[0], address[1], error) from None
    return bound


def listen_unix(path: Path) -> Listener:
    """Return a Unix socket at ``path``; the socket of a server that was killed is replaced.

    Every user who may enter the folder may connect, as on a port of the loopback address.

    Raises:
        EnvironmentProblem: a server uses it, or it cannot be created there.
        UsageError: there is another file at ``path``.
    """
    _make_way(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(_EVERYONE)
    except OSError as error:
        bound.close()
        raise EnvironmentProblem(
            f"the socket '{one_line(str(path))}' cannot be created: {error.strerror or error}",
            hint="give a short path in a folder that you may write to: --unix-socket /run/x.sock",
        ) from None
    return Listener(str(path), (bound,), path)


def _make_way(path: Path) -> None:
    """Remove the socket of a process that has ended."""
    if not path.is_socket():
        if path.exists() or path.is_symlink():
            raise UsageError(
                f"'{one_line(str(path))}' exists and is not a socket",
                hint="give another path with --unix-socket",
            )
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass  # no permission, or its queue is full: a process uses it
    raise EnvironmentProblem(
        f"the socket '{one_line(str(path))}' is in use by another process",
        hint="stop that server, or give another path with --unix-socket",
    )


def _no_such_address(host: str) -> UsageError:
    return UsageError(
        f"there is no address '{host}' on this machine",
        hint="127.0.0.1 for this machine only, 0.0.0.0 for all networks",
    )


def _port_problem(host: str, port: int, error: OSError) -> EnvironmentProblem:
    reason = {
        errno.EADDRINUSE: "is in use",
        errno.EACCES: "is not permitted for this user: ports below 1024 need root",
    }.get(error.errno or 0, f"cannot be used: {error.strerror}")
    other = port + 1 if port < _LAST_PORT else 8501
    return EnvironmentProblem(
        f"port {port} of {host} {reason}",
        hint=f"choose another with --port {other}, or any free one with --port 0",
    )
