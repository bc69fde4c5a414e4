"""Lets this process look like the kernel of a notebook."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest


class Shown:
    """The output below a cell; remembers its content at each update."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def update(self, content: Any) -> None:
        self.pages.append(content._repr_html_())


def as_notebook(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Let this process look like the kernel of a notebook; return what it shows."""
    output = Shown()
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    display = types.SimpleNamespace(display=lambda content, display_id: output)
    modules: dict[str, Any] = dict(IPython=ipython, **{"IPython.display": display})
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return output
