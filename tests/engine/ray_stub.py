"""A stand-in for Ray: tasks run at once, in this process, in an order that a test decides."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any


class RayError(Exception):
    """As ``ray.exceptions.RayError``."""


class WorkerCrashedError(RayError):
    """As ``ray.exceptions.WorkerCrashedError``."""


class RayStub(types.ModuleType):
    """The functions of Ray that the engine uses.

    Args:
        run: takes the number of a piece and how often it was handed out before; returns its record,
            raises ``RayError`` for a dead worker, or returns None for a piece that is silent.
    """

    def __init__(self, run: Callable[[int, int], dict[str, Any] | None]) -> None:
        super().__init__("ray")
        self.exceptions = types.SimpleNamespace(RayError=RayError)
        self.handed_out: list[int] = []
        self.most_open = 0
        self.free = 2
        self.cpus_of_nodes: tuple[int, ...] = (2,)
        self.task_options: dict[str, object] = {}
        self.arguments: tuple[Any, ...] = ()  # of the last task
        self._run = run

    def available_resources(self) -> dict[str, float]:
        """Return what no command uses."""
        return {"CPU": self.free}

    def remote(self, function: object) -> RayStub:
        return self

    def init(self, **_: object) -> None:
        """Do nothing."""

    def is_initialized(self) -> bool:
        return False

    def shutdown(self) -> None:
        """Do nothing."""

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": sum(self.cpus_of_nodes)}

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": True, "NodeID": str(number), "NodeManagerHostname": "node",
             "Resources": {"CPU": cpus}}
            for number, cpus in enumerate(self.cpus_of_nodes)
        ]  # fmt: skip

    def options(self, **options: object) -> Any:
        self.task_options = options
        return types.SimpleNamespace(remote=self._hand_out)

    def _hand_out(self, *arguments: Any) -> Any:
        self.arguments, number = arguments, arguments[3]
        self.handed_out.append(number)
        return (number, self.handed_out.count(number) - 1)

    def wait(self, open_: list[Any], *, num_returns: int, timeout: float) -> Any:
        self.most_open = max(self.most_open, len(open_))
        ready = [one for one in open_ if not self._silent(one)][-1:]
        return ready, [one for one in open_ if one not in ready]

    def _silent(self, reference: Any) -> bool:
        try:
            return self._run(*reference) is None
        except RayError:
            return False

    def get(self, reference: Any) -> dict[str, Any] | None:
        return self._run(*reference)

    def cancel(self, reference: Any, *, force: bool) -> None:
        """Do nothing."""
