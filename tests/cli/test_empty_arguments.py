"""An empty argument, as of an unset shell variable, is an error of every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tltool.cli.main import app
from tltool.data.sources.open import read_images, read_source
from tltool.errors import UsageError


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


def takes_text(param: Any) -> bool:
    """Return whether a parameter has a text or a path as its value."""
    return not getattr(param, "is_flag", False) and "--help" not in param.opts


CASES = [
    pytest.param(names, param.name, id=f"{' '.join(names)} {param.opts[0]}")
    for names, command in commands(typer.main.get_command(app))
    for param in command.params
    if takes_text(param)
]


@pytest.mark.parametrize(("names", "name"), CASES)
def test_an_empty_text_is_an_error(names: tuple[str, ...], name: str) -> None:
    command = dict(commands(typer.main.get_command(app)))[names]
    line = list(names)
    for param in command.params:
        is_empty = param.name == name
        if param.param_type_name == "argument" and (is_empty or param.required):
            line.append("" if is_empty else "x")
        elif is_empty:
            line.append(f"{max(param.opts, key=len)}=")
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 2
    assert "it is empty" in result.stderr
    assert result.stdout == ""


def test_most_commands_have_a_text() -> None:
    assert len(CASES) > 100


@pytest.mark.parametrize("read", [read_source, read_images])
@pytest.mark.parametrize("source", ["", " "])
def test_the_empty_name_of_a_source_is_an_error(read: Any, source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name of the data source is empty"):
        read(source)
