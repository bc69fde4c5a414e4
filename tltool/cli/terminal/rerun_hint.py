"""The options of a command, to be repeated in the command that it suggests next."""

from collections.abc import Collection, Iterator
from typing import Any

import typer

_OF_ONE_CALL = ("out_folder", "json", "quiet", "debug")


def user_options(context: typer.Context, *, without: Collection[str]) -> list[str]:
    """Return the options that the user typed, as words of a command line.

    Args:
        context: of the running command.
        without: names of parameters to leave out, besides those of output folders and
            formats.
    """
    words: list[str] = []
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        typed = source is not None and source.name == "COMMANDLINE"
        if typed and option.name not in (*without, *_OF_ONE_CALL) and option.opts[0][0] == "-":
            words += _words(option, context.params[option.name or ""])
    return words


def _words(option: Any, value: Any) -> Iterator[str]:
    flag = next(name for name in option.opts if name.startswith("--"))
    if isinstance(value, bool):
        yield flag if value else option.secondary_opts[0]
        return
    for one in value if isinstance(value, list | tuple) else [value]:
        yield from (flag, str(one))


def without_settings(words: list[str], keys: Collection[str]) -> list[str]:
    """Return the words of a command line without each ``--set KEY=VALUE`` of these keys."""
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == "--set" and word.partition("=")[0].strip() in keys:
            kept.pop()
        else:
            kept.append(word)
    return kept
