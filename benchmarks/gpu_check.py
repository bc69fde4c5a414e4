"""What tltool does on a GPU, in less than eight minutes: one table.

python -m benchmarks.gpu_check [--small] [--only steps,xla] [--seconds 470] [--output FILE.jsonl]

Needs no images and no weights: it writes JPEG files to a temporary folder, and its networks have
random weights. Every check stands alone: one that fails is reported, and the next one runs; one
that would not end in time is skipped. Prints Markdown for RESULTS.md, and on stderr each finding
as soon as it is known; with --output each is also written as a line of JSON. A check that is still
running after --seconds is cut off, and the table printed as it is. With --small tiny networks run
all checks in some minutes on a CPU: a rehearsal, whose figures say nothing about a GPU. The exit
status is 1 if a check failed or was cut off, whether goals are met or not.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from benchmarks import gpu_parts
from benchmarks.gpu_commands import commands, xla
from benchmarks.gpu_parts import Finding
from benchmarks.gpu_setup import FULL, SMALL, Setup, write_images
from tltool.training.devices import choose_devices

Check = Callable[[Setup], Iterator[Finding]]

# each with the seconds that it should need on a GPU, the most important ones first
CHECKS: Mapping[str, tuple[Check, float]] = {
    "devices": (gpu_parts.devices, 2),
    "steps": (gpu_parts.steps, 60),
    "waiting": (gpu_parts.waiting, 80),
    "extraction": (gpu_parts.extraction, 30),
    "determinism": (gpu_parts.determinism, 60),
    "augmentation": (gpu_parts.augmentation, 50),
    "numerics": (gpu_parts.numerics, 40),
    "commands": (commands, 150),
    "xla": (xla, 60),
    "memory": (gpu_parts.memory, 20),
}


@dataclass
class Report:
    """Findings of all checks.

    Attributes:
        seconds: for all checks.
        output: file that gets each finding as a line of JSON; None for no file.
        started: ``time.perf_counter`` at the start.
        rows: check and finding.
        failed: names of the checks that failed.
    """

    seconds: float
    output: Path | None = None
    started: float = field(default_factory=time.perf_counter)
    rows: list[tuple[str, Finding]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self, name: str, check: Check, setup: Setup, *, needs: float) -> None:
        """Run one check; nothing that it raises ends the program."""
        if self._elapsed + needs > self.seconds:
            self.add(name, Finding("not run", f"less than {needs:.0f} s are left"))
            return
        try:
            for finding in check(setup):
                self.add(name, finding)
        except Exception as error:  # the other checks must run
            self.failed.append(name)
            text = " ".join(str(error).split())
            self.add(name, Finding("failed", f"{type(error).__name__}: {text[:300]}", met=False))

    def add(self, name: str, finding: Finding) -> None:
        """Keep a finding, and write it at once: the machine may be taken away."""
        self.rows.append((name, finding))
        line = json.dumps({"check": name, "at": round(self._elapsed, 1), **asdict(finding)})
        print(line, file=sys.stderr, flush=True)
        if self.output is not None:
            with self.output.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def table(self) -> str:
        """Return all findings as Markdown."""
        head = ["| check | what | result | goal | met |", "|---|---|---|---|---|"]
        return "\n".join([*head, *(_row(name, finding) for name, finding in self.rows)])

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self.started


def _row(name: str, finding: Finding) -> str:
    value = finding.value
    if isinstance(value, str):
        text = value.replace("|", "/")
    else:
        text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    met = {None: "", True: "yes", False: "**no**"}[finding.met]
    return f"| {name} | {finding.what} | {text} {finding.unit} | {finding.goal} | {met} |"


def check_all(setup: Setup, names: Sequence[str], report: Report) -> None:
    """Run the checks of ``names`` in their order."""
    for name in names:
        check, needs = CHECKS[name]
        report.run(name, check, setup, needs=needs if setup.gpu else 0)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="the rehearsal, on a CPU")
    parser.add_argument("--only", default="", help=f"of {','.join(CHECKS)}; by default all")
    parser.add_argument("--seconds", type=float, default=470, help="for all checks together")
    parser.add_argument("--output", type=Path, help="gets each finding as a line of JSON")
    args = parser.parse_args(words)
    args.names = [name for name in args.only.split(",") if name] or list(CHECKS)
    unknown = [name for name in args.names if name not in CHECKS]
    if unknown:
        parser.error(f"--only: no check is called {unknown[0]}; there are {', '.join(CHECKS)}")
    if not (args.small or tf.config.list_physical_devices("GPU")):
        parser.error("TensorFlow finds no GPU; --small rehearses all checks on a CPU")
    return args


def _cut_off(report: Report) -> None:
    """End the program; the main thread may be inside TensorFlow, where nothing interrupts it."""
    report.add("all", Finding("cut off", f"after {report.seconds:.0f} s", met=False))
    print(report.table(), flush=True)
    os._exit(1)


def main(words: Sequence[str] | None = None) -> int:
    args = _arguments(words)
    _, gpu = choose_devices("cpu" if args.small else "auto")
    keras.utils.set_random_seed(0)
    if args.names != ["xla"]:
        tf.config.experimental.enable_op_determinism()  # the default of a run
    report = Report(args.seconds, args.output)
    scale = SMALL if args.small else FULL
    alarm = threading.Timer(args.seconds, _cut_off, [report])
    alarm.daemon = True
    alarm.start()
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), scale.images, side=2 * scale.side)
        check_all(Setup(scale, gpu, Path(folder)), args.names, report)
    alarm.cancel()
    print(report.table())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
