"""Commands that install what an optional part of tltool needs, and nothing else.

They name the packages and not ``tltool[onnx]``, which pip may not find: tltool can be installed
from a checkout. TensorFlow is in the extras ``cpu`` and ``gpu`` only, because tensorflow and
tensorflow-cpu contain the same Python module and overwrite each other.
"""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path


def install_hint(extra: str) -> str:
    """Return the command that installs the packages of an extra into this environment.

    Args:
        extra: such as onnx.

    Examples:
        >>> install_hint("mlflow")
        "pip install 'mlflow-skinny>=3'"
    """
    packages = _packages(extra) or [f"tltool[{extra}]"]
    return f"{_pip()} install {_quoted(packages)}"


def gpu_hint() -> str:
    """Return the commands that replace TensorFlow by one for NVIDIA GPUs."""
    install = install_hint("gpu")
    try:
        importlib.metadata.version("tensorflow-cpu")
    except importlib.metadata.PackageNotFoundError:
        return install
    return f"{_pip()} uninstall tensorflow-cpu && {install}"


def _packages(extra: str) -> list[str]:
    """Return the requirements of an extra on this machine; none if tltool is not a package."""
    try:
        lines = importlib.metadata.requires("tltool") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    from packaging.requirements import Requirement

    packages = [Requirement(line) for line in lines]
    return [
        str(package).partition(";")[0].strip()
        for package in packages
        if package.marker and package.marker.evaluate({"extra": extra})
    ]


def _quoted(packages: list[str]) -> str:
    return " ".join(shlex.quote(package) for package in packages)


def _pip() -> str:
    """Return a command of pip for this environment, which may not be the active one."""
    here = Path(sys.executable).parent
    if find_spec("pip") is None:  # made by uv
        return "uv pip" if shutil.which("uv") else "pip"
    on_path = shutil.which("pip")
    return "pip" if on_path and Path(on_path).parent == here else f"{sys.executable} -m pip"
