"""Every command of the documentation has options and arguments that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from tltool.cli.main import app

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?:console|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*tltool (.*)$", re.MULTILINE)
AFTER = re.compile(r"\s(?:[|>&]|2>).*")  # what the shell does with the output


def commands() -> dict[str, list[str]]:
    """Return the words after ``tltool`` by the line of the page, without generated usage lines."""
    found = {}
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in COMMAND.findall(block.replace("\\\n", " ")):
                if "OPTIONS" not in line:
                    words = shlex.split(AFTER.sub("", line), comments=True)
                    found[f"{page.relative_to(ROOT)}: {line}"] = words
    return found


COMMANDS = commands()


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_of_the_documentation_can_be_parsed(words):
    command, context, name = typer.main.get_command(app), None, "tltool"
    while hasattr(command, "commands"):
        context = typer.Context(command, info_name=name, parent=context)
        assert words, "a group of commands without a command"
        if words[0].startswith("--"):  # of tltool itself
            assert words[0] in {option for one in command.params for option in one.opts}
            return
        name, *words = words
        assert name in command.commands
        command = command.commands[name]
    command.make_context(name, words, parent=context)


def test_there_are_commands_in_the_documentation():
    assert len(COMMANDS) > 100
