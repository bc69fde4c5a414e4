"""Addresses of both families, Unix sockets, and fewer files than clients."""

from __future__ import annotations

import asyncio
import http.client
import logging
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serving.conftest import SETTINGS
from tests.serving.live_server import serving, versions_of
from tltool.errors import EnvironmentProblem, UsageError
from tltool.serving import accepting
from tltool.serving.accepting import Acceptor, allowed_connections
from tltool.serving.listener import listen, listen_unix
from tltool.serving.repeated_errors import RepeatedErrors


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def answering(port: int) -> set[str]:
    """Return the loopback addresses at which ``port`` accepts connections."""
    found = set()
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, port), timeout=5).close()
            found.add(address)
        except OSError:
            continue
    return found


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "addresses", "url"),
    [
        ("localhost", {"127.0.0.1", "::1"}, "http://localhost:"),
        ("LOCALHOST", {"127.0.0.1", "::1"}, "http://LOCALHOST:"),
        ("::", {"127.0.0.1", "::1"}, "http://localhost:"),
        ("[::]", {"127.0.0.1", "::1"}, "http://localhost:"),
        ("[::1]", {"::1"}, "http://[::1]:"),
        ("::1", {"::1"}, "http://[::1]:"),
        ("127.0.0.1", {"127.0.0.1"}, "http://127.0.0.1:"),
        ("0.0.0.0", {"127.0.0.1"}, "http://localhost:"),
    ],
)
def test_a_host_is_served_at_all_of_its_addresses(host, addresses, url):
    with listen(host, 0) as listener:
        listener.start()
        assert answering(listener.port) == addresses
        assert listener.url == f"{url}{listener.port}"


def test_localhost_is_both_families_whatever_the_hosts_file_says(monkeypatch):
    real = socket.getaddrinfo

    def one_family(host, *args, **kwargs):
        return real("::1" if host == "localhost" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", one_family)
    with listen("localhost", 0) as listener:
        listener.start()
        assert "127.0.0.1" in answering(listener.port)


def test_a_machine_without_ipv6_serves_localhost(monkeypatch):
    real = socket.socket

    def no_ipv6(family=socket.AF_INET, *args, **kwargs):
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *args, **kwargs)

    monkeypatch.setattr("tltool.serving.listener.socket.socket", no_ipv6)
    with listen("localhost", 0) as listener:
        assert len(listener.sockets) == 1


@needs_ipv6
def test_a_port_in_use_in_one_family_is_named():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"port {port} of ::1 is in use"):
            listen("localhost", port)


@pytest.mark.parametrize("host", ["", "[]", "[::1", "no such host", "256.1.1.1", "a" * 300])
def test_there_is_no_such_address(host):
    with pytest.raises(UsageError, match="there is no address"):
        listen(host, 0)


@pytest.fixture
def path(tmp_path: Path, monkeypatch) -> Path:
    """A path that is short enough for a socket, in a folder of the test."""
    monkeypatch.chdir(tmp_path)
    return Path("s")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def test_a_unix_socket_is_served_and_removed_at_the_end(exported, path):
    with serving(versions_of(exported.parent), SETTINGS, listener=listen_unix(path)):
        connection = UnixConnection(path)
        connection.request("GET", "/v1/models")
        assert b"tiny" in connection.getresponse().read()
        connection.close()
        with pytest.raises(EnvironmentProblem, match="'s' is in use by another process"):
            listen_unix(path)
    assert not path.exists()


def test_the_socket_of_a_killed_server_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with listen_unix(path) as listener:
        assert listener.url == "unix:s"
        assert path.is_socket()


def test_another_file_is_never_replaced(path):
    path.write_text("mine")
    with pytest.raises(UsageError, match="'s' exists and is not a socket"):
        listen_unix(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["missing/s", "x" * 200])
def test_a_socket_that_cannot_be_created(path, name):
    with pytest.raises(EnvironmentProblem, match="cannot be created"):
        listen_unix(path.parent / name)


def limits(monkeypatch, soft: int, hard: int) -> list[tuple[int, int]]:
    """Set the limits of open files as the process sees them; return the list of changes."""
    now = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: now.append(pair))
    return now


def test_the_limit_of_open_files_is_raised_and_not_exceeded(monkeypatch):
    many = limits(monkeypatch, 256, 1_000_000)
    assert allowed_connections() == accepting.MAX_CONNECTIONS
    assert many[-1][0] > accepting.MAX_CONNECTIONS
    limits(monkeypatch, 256, 400)
    assert 100 < allowed_connections() < 400
    limits(monkeypatch, 8, 8)
    assert allowed_connections() >= 1
    unlimited = limits(monkeypatch, resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert allowed_connections() == accepting.MAX_CONNECTIONS
    assert len(unlimited) == 1


def test_clients_wait_when_all_connections_are_in_use(exported, caplog):
    with serving(versions_of(exported.parent), SETTINGS) as live, ExitStack() as held:
        live.server.connections = 3
        address = ("127.0.0.1", live.port)
        for _ in range(20):
            held.enter_context(socket.create_connection(address, timeout=5))
        held.close()
        assert live.get("/healthz").status == 200
        assert live.thread.is_alive()
    full = [one for one in caplog.records if "all connections are in use" in one.message]
    assert len(full) == 1


def test_a_new_client_gets_the_place_of_the_longest_idle_one(exported):
    with serving(versions_of(exported.parent), SETTINGS) as live:
        live.server.connections = 2
        idle = [http.client.HTTPConnection("127.0.0.1", live.port, timeout=10) for _ in range(2)]
        for one in idle:
            one.auto_open = 0
            one.connect()
            one.request("GET", "/healthz")
            one.getresponse().read()
        assert live.get("/healthz").status == 200
        idle[1].request("GET", "/healthz")
        assert idle[1].getresponse().status == 200
        with pytest.raises((http.client.HTTPException, OSError)):
            idle[0].request("GET", "/healthz")
            idle[0].getresponse()
        for one in idle:
            one.close()


class NoFiles:
    """A listening socket of a process without free files."""

    def __init__(self) -> None:
        self.tries = 0
        self._pair = socket.socketpair()
        self._pair[1].send(b"x")  # so that it is always readable

    def fileno(self) -> int:
        return self._pair[0].fileno()

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def accept(self):
        self.tries += 1
        raise OSError(24, "Too many open files")

    def close(self) -> None:
        for one in self._pair:
            one.close()


def test_without_free_files_there_is_one_line_and_no_busy_loop(caplog):
    listener = NoFiles()

    async def never(connection: socket.socket) -> None:
        raise AssertionError("nothing was accepted")

    async def accept_for_a_moment() -> None:
        acceptor = Acceptor(listener, never, lambda opening: True)
        await asyncio.sleep(0.3)
        acceptor.stop()

    asyncio.run(accept_for_a_moment())
    listener.close()
    assert listener.tries == 1
    assert [one.message for one in caplog.records] == [
        "a connection cannot be accepted: Too many open files"
    ]
    assert caplog.records[0].exc_info is None


def test_the_same_error_is_logged_once():
    def record(kind: type[Exception]) -> logging.LogRecord:
        try:
            raise kind("why")
        except Exception as error:
            info = (kind, error, error.__traceback__)
            return logging.LogRecord("x", logging.ERROR, "", 0, "failed: %s", ("a",), info)

    repeated = RepeatedErrors(seconds=60)
    assert [repeated.filter(record(ValueError)) for _ in range(5)] == [True, *[False] * 4]
    assert repeated.filter(record(KeyError))
    assert repeated.filter(logging.LogRecord("x", logging.ERROR, "", 0, "plain", (), None))
    repeated._seconds = 0
    last = record(ValueError)
    assert repeated.filter(last)
    assert last.getMessage() == "failed: a (4 more like it since the last report)"
