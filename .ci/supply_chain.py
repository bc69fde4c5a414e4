"""Third-party notices, and the comparison of an image with its software bill of materials (SBOM).

python .ci/supply_chain.py notices LOCK... > THIRD_PARTY_NOTICES.txt
python .ci/supply_chain.py check SBOM INSTALLED

`notices` prints name, version, licence and licence texts of the packages in lock files, from this
environment, where `make venv` has installed them. `check` compares the lines NAME==VERSION of the
file INSTALLED with a CycloneDX document. The exit status is 1 if a package has another version, no
licence, or is not in the SBOM.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_TEXT = re.compile(r"(?:^|/)(?:licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)
_OWN = ("tltool", "pip", "setuptools", "wheel")  # pip and setuptools may come with Python


def pins(text: str) -> dict[str, set[str]]:
    """Return the versions by normalised name in a lock file; they depend on the Python version."""
    versions: dict[str, set[str]] = {}
    for name, version in _PIN.findall(text):
        versions.setdefault(_normal(name), set()).add(version)
    return versions


def problems(sbom: dict[str, object], installed: dict[str, set[str]]) -> Iterator[str]:
    """Yield what is installed and is not in the bill of materials."""
    components = sbom["components"]
    assert isinstance(components, list)
    listed = {(_normal(one["name"]), one["version"]) for one in components}
    for name, versions in sorted(installed.items()):
        for version in sorted(versions):
            if name not in _OWN and (name, version) not in listed:
                yield f"{name} {version} is installed, but not in the SBOM"


def licence(package: Distribution) -> str:
    """Return the licence of an installed package by its metadata; empty if it names none."""
    facts = package.metadata
    named, free_text = (
        (facts.get_all(key) or [""])[0] for key in ("License-Expression", "License")
    )
    classifiers = [
        one.rpartition(" :: ")[2]
        for one in facts.get_all("Classifier") or []
        if one.startswith("License ::") and one != "License :: OSI Approved"
    ]
    return named or ", ".join(classifiers) or free_text.strip().split("\n")[0]


def texts(package: Distribution) -> Iterator[str]:
    """Yield the licence files of an installed package."""
    for path in package.files or []:
        inside = ".dist-info" in path.parts[0]
        if inside and _TEXT.search(str(path)):
            file = Path(str(package.locate_file(path)))
            if file.is_file():
                yield file.read_text(encoding="utf-8", errors="replace").strip()


def notices(locks: dict[str, set[str]]) -> tuple[str, list[str]]:
    """Return the notices of the packages that are installed, and what is wrong with others.

    Packages for other platforms or Python versions are not installed, and are left out.
    """
    parts, wrong = [], []
    for name, versions in sorted(locks.items()):
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        if package.version not in versions:
            expected = " or ".join(sorted(versions))
            wrong.append(f"{name} is {package.version} here, not {expected}: run `make venv`")
            continue
        found = list(texts(package))
        named = licence(package) or ("see below" if found else "")
        if not named:
            wrong.append(f"{name} {package.version} names no licence")
        heading = f"{name} {package.version}\nLicence: {named}"
        parts.append("\n\n".join([heading, *found]))
    rule = f"\n\n{'-' * 80}\n\n"
    return rule.join(parts) + "\n", wrong


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(command: str, *files: str) -> int:
    """Run a command; return the exit status."""
    contents = [Path(file).read_text(encoding="utf-8") for file in files]
    if command == "check":
        wrong = list(problems(json.loads(contents[0]), pins(contents[1])))
    else:
        text, wrong = notices(pins("\n".join(contents)))
        print(text, end="")
    for problem in wrong:
        print(problem, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
