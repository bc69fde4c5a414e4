"""What every test costs in CPU time: a table of all, and a limit for tests that are not marked.

CPU time, of this process and of those it has waited for, because the clock on the wall says more
about what else the machine does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

MARKS = ("slow", "thorough", "weekly")
"""A test with one of these may take longer than the limit."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a test; ``shared`` is what it took to build fixtures that others use too."""

    cpu: float = 0.0
    wall: float = 0.0
    shared: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu + other.cpu, self.wall + other.wall, self.shared + other.shared)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cpu time")
    group.addoption("--cpu-limit", type=float, metavar="SECONDS", help="of a test without a mark")
    group.addoption("--cpu-table", type=Path, metavar="FILE", help="where the cost of each goes")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Measuring(config.getoption("--cpu-limit")))
    table: Path | None = config.getoption("--cpu-table")
    if table is not None and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Table(table))


def cpu_seconds() -> float:
    return sum(os.times()[:4]) + sum(_charged)


_charged: list[float] = []


def charge(seconds: float) -> None:
    """Count CPU time of a process that is no child of this one."""
    _charged.append(seconds)


class Measuring:
    """Puts the cost of a test on its reports, and fails one that is over the limit."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._cost = Cost()
        self._began = (0.0, 0.0)
        self._nested = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._cost = Cost()
        self._start()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function" or self._nested:
            return (yield)
        before, self._nested = cpu_seconds(), True
        try:
            return (yield)
        finally:
            self._nested = False
            self._cost += Cost(shared=cpu_seconds() - before)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._cost += Cost(cpu_seconds() - self._began[0], time.perf_counter() - self._began[1])
        self._start()
        if report.when == "teardown":
            report.user_properties.append(("cost", astuple(self._cost)))
        own = self._cost.cpu - self._cost.shared
        marked = any(item.get_closest_marker(mark) for mark in MARKS)
        if self._limit and own > self._limit and report.when == "call" and not marked:
            report.outcome = "failed"
            report.longrepr = (
                f"{own:.1f} s of CPU time: over {self._limit:g} s a test is marked "
                + " or ".join(MARKS)
            )
        return report

    def _start(self) -> None:
        self._began = (cpu_seconds(), time.perf_counter())


class Table:
    """Writes what each test took, the dearest first, and what each file took."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._costs: dict[str, Cost] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "cost":
                self._costs[_without_group(report.nodeid)] = Cost(*value)

    def pytest_sessionfinish(self) -> None:
        files: dict[str, Cost] = {}
        for test, cost in self._costs.items():
            file = test.partition("::")[0]
            files[file] = files.get(file, Cost()) + cost
        parts = [
            "CPU seconds, of which for shared fixtures, and seconds on the wall\n",
            *_rows({"all": sum(files.values(), Cost())}),
            "\n",
            *_rows(files),
            "\n",
            *_rows(self._costs),
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(parts), encoding="utf-8")


def _without_group(nodeid: str) -> str:
    """Return a test's name without the group that xdist has put behind it."""
    at = nodeid.rfind("@")
    return nodeid[:at] if at > nodeid.rfind("]") else nodeid


def _rows(costs: dict[str, Cost]) -> list[str]:
    dearest_first = sorted(costs.items(), key=lambda row: -row[1].cpu)
    return [f"{c.cpu:8.2f} {c.shared:8.2f} {c.wall:8.2f}  {name}\n" for name, c in dearest_first]
