"""What all commands have in common: how their help reads."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tltool.cli.main import app


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and of every group of commands."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, (*words, name))

    yield from below(typer.main.get_command(app), ())


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_tells_no_types_of_python(tltool, words):
    result = tltool(*words, "--help")
    assert result.exit_code == 0
    assert not re.search(r"<[a-z]", result.stdout)
    assert "[[" not in result.stdout


def test_there_are_commands_to_look_at():
    assert ("recipes", "diff") in set(commands())


def test_python_m_tltool_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "tltool", "recipes", "show", "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no recipe 'nothing'.")
