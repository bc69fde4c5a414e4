"""Attacks on tltool: hostile files, requests and clients; all must be held.

python -m benchmarks.attacks [MODULE ...] [--list]

Every module of `benchmarks/attack_kinds/` with a function ``attacks(folder)`` has a few kinds;
the function tries them in an empty folder and yields an `Outcome` for each. Prints Markdown: a
table kind, tried, held, and the attacks that were not held; then the exit status is 1.
"""

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TLTOOL_OFFLINE", "1")

from benchmarks import attack_kinds
from benchmarks.attack_kinds.outcome import Outcome

Attacks = Callable[[Path], Iterable[Outcome]]


def modules() -> dict[str, Attacks]:
    """Return the function of each module with attacks, by its name."""
    found = {}
    for module in pkgutil.iter_modules(attack_kinds.__path__):
        function = getattr(
            importlib.import_module(f"{attack_kinds.__name__}.{module.name}"), "attacks", None
        )
        if function is not None:
            found[module.name] = function
    return found


def attempts(chosen: Iterable[Attacks]) -> Iterator[Outcome]:
    """Try all attacks, each module in its own empty folder."""
    for attack in chosen:
        with tempfile.TemporaryDirectory(prefix="tltool-attacks-") as folder:
            for outcome in attack(Path(folder)):
                mark = "held" if outcome.held else "BROKEN"
                print(
                    f"{mark:6} {outcome.kind}: {outcome.attack} {outcome.figure}", file=sys.stderr
                )
                yield outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the number of attacks tried and held per kind, as Markdown."""
    lines = ["| kind | tried | held |", "| --- | --- | --- |"]
    for kind in dict.fromkeys(one.kind for one in outcomes):
        of_kind = [one for one in outcomes if one.kind == kind]
        lines.append(f"| {kind} | {len(of_kind)} | {sum(one.held for one in of_kind)} |")
    held = sum(one.held for one in outcomes)
    return "\n".join([*lines, f"| all | {len(outcomes)} | {held} |"])


def main() -> int:
    """Try the attacks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", nargs="*", help="only these modules")
    parser.add_argument("--list", action="store_true", help="print the names of the modules")
    args = parser.parse_args()
    known = modules()
    if args.list or not set(args.module) <= known.keys():
        print("\n".join(known))
        return int(not args.list)
    outcomes = list(attempts(known[name] for name in args.module or known))
    print(table(outcomes))
    for one in outcomes:
        if not one.held:
            print(f"\nnot held: {one.kind}: {one.attack} ({one.figure})")
    return int(not all(one.held for one in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
