"""Fresh processes that cost no imports: forked from one that has done them and nothing else.

For tests that only want a process of its own. What a process imports, and how long that takes, is
for tests that start a real one.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

from tests import cpu_time

_ROOT = Path(__file__).parents[1]
_LARGEST_REQUEST = 2**20


class ForkServer:
    """One process that has imported ``modules``, and starts others that have them at once.

    It begins when it is first asked.

    Args:
        modules: names of what to import.
        before: a program to run before that.
        parent: the server from which it is forked, with all that one has imported.
    """

    def __init__(
        self, modules: Sequence[str], *, before: str = "", parent: ForkServer | None = None
    ) -> None:
        self._arguments = (before, *modules)
        self._parent = parent

    @functools.cached_property
    def _socket(self) -> socket.socket:
        """The socket of the process, which is started when it is first needed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = "import sys; from tests.fork_server import serve; serve(*sys.argv[1:])"
        with theirs:
            self._process = self._begin(program, theirs.fileno())
        return ours

    def _begin(self, program: str, number: int) -> subprocess.Popen[bytes] | Forked:
        if self._parent is None:
            return subprocess.Popen(
                [sys.executable, "-c", program, str(number), *self._arguments],
                pass_fds=[number],
                cwd=_ROOT,
            )
        # a forked process has its three streams only: the socket is its stdout
        return self._parent.start(
            program, "1", *self._arguments, stdout=number, stderr=2, cwd=_ROOT
        )

    def close(self) -> None:
        if "_socket" in vars(self):
            self._socket.close()  # which ends it
            self._process.communicate()

    def start(
        self,
        program: str,
        *arguments: str,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
        cwd: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> Forked:
        """Run a Python program in a new process, with a pipe as its stdin.

        Args:
            program: its text.
            arguments: ``sys.argv[1:]``.
            stdout: an open file or its number.
            stderr: the same.
            cwd: its working folder; this one's without.
            environment: its variables.
        """
        request = {
            "program": program,
            "arguments": ["-c", *arguments],
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(environment),
        }
        (reading, stdin), (status, writing) = os.pipe(), os.pipe()
        outputs = [one if isinstance(one, int) else one.fileno() for one in (stdout, stderr)]
        files = [reading, *outputs, writing]
        socket.send_fds(self._socket, [json.dumps(request).encode()], files)
        os.close(reading)
        os.close(writing)
        return Forked(os.fdopen(stdin, "w", encoding="utf-8"), os.fdopen(status))

    def run(
        self, program: str, *arguments: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a Python program to its end, with what it wrote."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(program, *arguments, stdout=out, stderr=err, cwd=cwd)
            process.communicate()
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode(errors="replace"))
        return subprocess.CompletedProcess(["-c", *arguments], process.wait(), *texts)


class Forked:
    """A process that was forked elsewhere; used like a ``subprocess.Popen`` of text."""

    def __init__(self, stdin: IO[str], status: IO[str]) -> None:
        self.stdin = stdin
        self.pid = int(status.readline())
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("-c", timeout or 0)
            with self._status:
                code, cpu_seconds = self._status.readline().split()
            self.returncode = int(code)
            cpu_time.charge(float(cpu_seconds))
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.kill(self.pid, signal.SIGKILL)

    def communicate(self, text: str = "", timeout: float | None = None) -> None:
        with contextlib.suppress(BrokenPipeError), self.stdin:
            self.stdin.write(text)
        self.wait(timeout)


def serve(number: str, before: str, *modules: str) -> None:
    """Import ``modules``, then fork for every request on a socket until it is closed."""
    exec(before, {})
    gc.disable()  # imports leave no garbage
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    with socket.socket(fileno=int(number)) as requests:
        while True:
            request, files, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST, 4)
            if not request:
                return
            if os.fork() == 0:
                requests.close()
                _attend(json.loads(request), files)
            for file in files:
                os.close(file)


def _attend(request: dict, files: Sequence[int]) -> NoReturn:
    """Fork the process that was asked for, and say who it is, how it ended and what it took."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, status = files
    child = os.fork()
    if child == 0:
        os.close(status)
        _become(request, streams)
    os.write(status, b"%d\n" % child)
    _, code, usage = os.wait4(child, 0)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    os.write(status, f"{os.waitstatus_to_exitcode(code)} {cpu_seconds}\n".encode())
    os._exit(0)


def _become(request: dict, streams: Sequence[int]) -> NoReturn:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    code = _run(request["program"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(program: str) -> int:
    """Run a program; return its exit code."""
    try:
        exec(compile(program, "-c", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return int(end.code or 0)
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
