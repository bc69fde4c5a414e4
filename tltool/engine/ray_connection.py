"""The connection of this process to Ray: started on this machine, or joined to a cluster.

Only this module and ``ray_engine`` import Ray.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tltool.engine.cluster_address import ClusterAddress, no_answer
from tltool.errors import EnvironmentProblem, first_line

_STORE_BYTES = 100 * 2**20  # records are small
_JOIN_SECONDS = 25.0  # Ray tries for 20 s before it says what is wrong
_STARTS = 3  # Ray gives its processes 15 seconds, too few on a busy machine


@contextmanager
def connected(where: ClusterAddress) -> Iterator[None]:
    """Start Ray for the body, or join a running cluster; what was started is ended afterwards.

    Args:
        where: the workers; checked.

    Raises:
        EnvironmentProblem: Ray does not start, no cluster answers, or Ray is in use already.
    """
    import ray

    if ray.is_initialized():
        raise EnvironmentProblem(
            "this process is connected to Ray already", hint="call ray.shutdown() before"
        )
    handlers = _handlers()
    folder = None
    try:
        if where.address is None:
            folder = tempfile.mkdtemp(prefix="tl", dir=_short_folder())
            _start(where.workers or 1, folder)
        else:
            _join(where.address)
        _restore(handlers)
        yield
    finally:
        ray.shutdown()
        _restore(handlers)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(workers: int, folder: str) -> None:
    """Start Ray on this machine.

    Raises:
        EnvironmentProblem: it does not start.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(
                address="local",
                num_cpus=workers,
                object_store_memory=_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
            return
        except Exception as error:  # Ray has no type for it
            ray.shutdown()
            if attempt == _STARTS:
                raise EnvironmentProblem(
                    f"the workers cannot be started: Ray says '{first_line(error)}'",
                    hint="a machine that is very busy is too slow for it: try again later, or "
                    "leave out --workers",
                ) from error


def _join(address: str) -> None:
    """Connect to a running cluster.

    Raises:
        EnvironmentProblem: none answers, or it refuses the token.
    """
    import ray

    result = list[BaseException]()

    def connect() -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            result.append(error)

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # else each attempt prints a line
    # Ray repeats for minutes what does not answer
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_JOIN_SECONDS)
    if result and _refuses_token(result[0]):
        raise EnvironmentProblem(
            f"--cluster {address}: the Ray cluster refuses this command: its token is missing or "
            "wrong",
            hint="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on the machines of the cluster",
        )
    if thread.is_alive() or result:
        reason = first_line(result[0]) if result else f"nothing in {_JOIN_SECONDS:.0f} s"
        raise no_answer(address, reason)


def _refuses_token(error: BaseException) -> bool:
    """Return whether the authentication failed; Ray names that only in the text of the cause."""
    return "AuthenticationError" in f"{error!r} {error.__cause__!r}"


def _short_folder() -> str | None:
    """Return a folder with a short name: the path of a socket in it has at most 107 bytes."""
    return "/tmp" if sys.platform != "win32" and os.access("/tmp", os.W_OK) else None


def _handlers() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _restore(handlers: dict[int, Any]) -> None:
    """Undo what Ray does to the reactions to signals."""
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
