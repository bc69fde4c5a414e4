"""The pages of the commands, from the options that Typer knows; shared options stand once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import typer

from generators.markdown import sentence, table
from tltool.cli.main import app
from tltool.cli.terminal.typer_app import grouped

SHARED = ("--json", "--quiet", "--offline", "--debug", "--help")
GUIDES: Mapping[str, tuple[str, str]] = {  # first words of a command -> the guide about it
    "finetune": ("Training", "how-it-works.md"),
    "preview": ("Augmentation", "augmentation.md#preview-and-ranking"),
    "predict": ("Quickstart: predict", "quickstart.md#predict"),
    "evaluate": ("Evaluation", "evaluation.md"),
    "explain": ("Explain", "explain.md"),
    "compare": ("Compare", "compare.md"),
    "monitor": ("Monitoring", "monitoring.md"),
    "promote": ("Monitoring: switch and go back", "monitoring.md#switch-and-go-back"),
    "learning-curve": ("Evaluation: learning curve", "evaluation.md#learning-curve"),
    "export": ("Export", "export.md"),
    "serve": ("Serving", "serving.md"),
    "demo": ("Quickstart", "quickstart.md"),
    "backbones": ("Backbones", "backbones.md"),
    "cluster": ("Work on a Ray cluster", "cluster.md"),
    "data check": ("Data: the check", "data.md#the-check"),
    "data split": ("Data: the split", "data.md#tltool-data-split"),
    "data apply-corrections": ("Review and correct labels", "review.md#a-corrected-copy"),
    "suggest": ("Review: what to label next", "review.md#what-to-label-next"),
    "review": ("Review and correct labels", "review.md"),
    "recipes sweep": (
        "Reproducibility: sweep",
        "reproducibility.md#sweep-hyperparameters-and-seeds",
    ),
    "recipes": ("Recipes", "recipes.md"),
    "runs": ("Reproducibility", "reproducibility.md"),
    "weights": ("Offline", "offline.md"),
    "samples": ("Tutorial: a table of digits", "tutorials/digits-table.md"),
}
_NOTES = re.compile(r"(?: \[(?:required|default: |[\d.]+<=x|x>=)[^\[\]]*\])+$")
_NOTE_IN_WORDS = {
    r"default: \((.+?)\)": r"Default: \1.",
    r"default: ([^(;\]]+)": r"Default: `\1`.",
    r"([\d.]+)<=x<=([\d.]+)": r"From \1 to \2.",
    r"x>=([\d.]+)": r"At least \1.",
}


@dataclass(frozen=True)
class CommandEntry:
    """A command that does something.

    Attributes:
        words: the words after ``tltool``, such as ``data check``.
        command: Typer's command.
        context: the context in which it describes its options.
    """

    words: str
    command: Any
    context: typer.Context

    @property
    def page(self) -> str:
        """The file of its page in docs/commands/."""
        return f"{self.words.replace(' ', '-')}.md"

    def groups(self) -> dict[str, list[tuple[str, str]]]:
        """Return names and descriptions of its own parameters, by the titles of the help."""
        records = {
            title: [_record(param, self.context) for param in params if not _is_shared(param)]
            for title, params in grouped(self.command.get_params(self.context)).items()
        }
        return {title: rows for title, rows in records.items() if rows}

    def params(self, kind: str, *, shared: bool = False) -> list[tuple[str, str]]:
        """Return names and descriptions of its arguments or options."""
        return [
            _record(param, self.context)
            for param in self.command.get_params(self.context)
            if param.param_type_name == kind and _is_shared(param) == shared
        ]


@cache
def commands() -> tuple[CommandEntry, ...]:
    """Return every command, in the order of the help."""
    return tuple(_leaves(typer.main.get_command(app), [], None))


def _leaves(command: Any, words: list[str], parent: Any) -> Iterator[CommandEntry]:
    name = words[-1] if words else "tltool"
    context = typer.Context(command, info_name=name, parent=parent, **command.context_settings)
    if not hasattr(command, "list_commands"):
        yield CommandEntry(" ".join(words), command, context)
        return
    for verb in command.list_commands(context):
        yield from _leaves(command.get_command(context, verb), [*words, verb], context)


def _is_shared(param: Any) -> bool:
    return any(name in SHARED for name in param.opts)


def _record(param: Any, context: Any) -> tuple[str, str]:
    names, text = param.get_help_record(context)
    names = re.sub(r"(?:, | / )(?=-)", "`, `", names)  # as code, each of several names
    return re.sub(r"^[\[{]|[\]}]$", "", names) if names[0] in "[{" else names, sentence(text)


def command_table(folder: str) -> str:
    """Return the table of all commands with links to their pages, which are in ``folder``."""
    rows = [
        [f"[`tltool {entry.words}`]({folder}{entry.page})", sentence(entry.command.help)]
        for entry in commands()
    ]
    return table(["command", "description"], rows)


def shared_options() -> str:
    """Return the table of the options that commands share."""
    records = dict(record for entry in commands() for record in entry.params("option", shared=True))
    rows = sorted(records.items(), key=lambda row: _rank(row[0]))
    return table(["option", "description"], [[f"`{names}`", text] for names, text in rows])


def _rank(names: str) -> int:
    return next(number for number, name in enumerate(SHARED) if name in names)


def command_pages() -> dict[str, str]:
    """Return the text of every page of docs/commands/ by its file name."""
    return {entry.page: _page(entry) for entry in commands()}


def _page(entry: CommandEntry) -> str:
    usage = re.sub(r"[{}]", "", " ".join(entry.command.collect_usage_pieces(entry.context)))
    parts = [
        "<!-- generated by docs/generate.py from the help of the command -->",
        f"# `tltool {entry.words}`",
        sentence(entry.command.help),
        f"```console\n$ tltool {entry.words} {usage}\n```",
        *_examples(entry),
        *(_options(title, records) for title, records in entry.groups().items()),
        _shared_line(entry),
        _guide(entry.words),
    ]
    return "\n\n".join(parts) + "\n"


def _examples(entry: CommandEntry) -> Iterator[str]:
    if entry.command.examples:
        lines = "\n".join(f"$ {example}" for example in entry.command.examples)
        yield f"For example:\n\n```console\n{lines}\n```"


def _options(title: str, records: list[tuple[str, str]]) -> str:
    rows = [[f"`{names}`", _in_words(text)] for names, text in records]
    kind = "argument" if title == "Arguments" else "option"
    return f"## {title}\n\n{table([kind, 'description'], rows)}"


def _in_words(text: str) -> str:
    """Return a description with Typer's notes in brackets, default and range, in words."""
    notes = _NOTES.search(text)
    sentences = [text[: notes.start()] if notes else text]
    for pattern, words in _NOTE_IN_WORDS.items():
        found = re.search(pattern, notes[0]) if notes else None
        sentences += [found.expand(words)] if found else []
    return " ".join(sentences).replace("<", "&lt;")


def _shared_line(entry: CommandEntry) -> str:
    names = [f"`{names}`" for names, _ in entry.params("option", shared=True)]
    return f"[Shared options](README.md#shared-options): {', '.join(names)}."


def _guide(words: str) -> str:
    title, page = GUIDES.get(words) or GUIDES[words.split()[0]]
    return f"Guide: [{title}](../{page}). [Exit codes](../reference/exit-codes.md)."


def navigation() -> str:
    """Return the lines of mkdocs.yml that list the pages of the commands."""
    return "\n".join(f"          - {entry.words}: commands/{entry.page}" for entry in commands())
