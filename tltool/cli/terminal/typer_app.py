"""Typer as tltool uses it."""

from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from tltool.cli.terminal.usage_hints import explain_command, explain_usage

UsageError: Any = typer.BadParameter.__bases__[0]  # Typer gives it no public name
GENERAL = "General options"
"""Title of the options that almost every command has, in its help."""


class Command(TyperCommand):
    """A command with examples in its help, and options in groups; wrong usage gets a hint.

    Its help names arguments without Python's types, such as list[Path].
    """

    examples: Sequence[str] = ()

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, the arguments, and the options group by group."""
        if self.examples:
            with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        for title, params in grouped(self.get_params(ctx)).items():
            records = [param.get_help_record(ctx) for param in params]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record is not None])

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; the metavar of an argument says what it is."""
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if param.param_type_name == "argument":
                param.display_type_rich = _no_type
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; what is said of a wrong value is the sentence alone.

        An empty text is an error for every argument and option: ``"$UNSET"`` would otherwise be the
        current folder.
        """
        self._check_empty(ctx, args)
        try:
            return super().parse_args(ctx, list(args))
        except UsageError as error:
            error.message = error.message.removeprefix("Value error, ")
            explain_usage(error, self, ctx, args)
            raise

    def _check_empty(self, ctx: Any, args: list[str]) -> None:
        if ctx.resilient_parsing or not any(arg == "" or arg.endswith("=") for arg in args):
            return
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for param in self.get_params(ctx):
            value = given.get(param.name)
            values = value if isinstance(value, list | tuple) else [value]
            if "" in values:
                raise typer.BadParameter(
                    "it is empty; is a shell variable unset?", ctx=ctx, param=param
                )


def grouped(params: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the parameters of a command by the titles under which its help lists them."""
    groups: dict[str, list[Any]] = {"Arguments": []}
    for param in params:
        title = getattr(param, "rich_help_panel", None) or "Options"
        if param.param_type_name == "argument":
            title = "Arguments"
        elif "--help" in param.opts:
            title = GENERAL
        groups.setdefault(title, []).append(param)
    groups[GENERAL] = groups.pop(GENERAL, [])  # the last one
    if set(groups) == {"Arguments", GENERAL}:
        groups["Options"] = groups.pop(GENERAL)
    return {title: params for title, params in groups.items() if params}


class Group(TyperGroup):
    """A group of commands; a name that it does not have gets a hint."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first argument names, see ``TyperGroup``."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            explain_command(error, self, ctx, args[0])
            raise


class Commands(typer.Typer):
    """A group of commands, its help drawn without rich, which would double the 0.15 s it takes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(no_args_is_help=True, rich_markup_mode=None, cls=Group, **settings)

    def command(
        self, name: str | None = None, *, examples: Sequence[str] = (), **settings: Any
    ) -> Callable[..., Any]:
        """Register a command, see ``typer.Typer.command``; ``examples`` are shown in its help."""
        kind = type("Command", (Command,), {"examples": examples})
        return super().command(name, cls=kind, **settings)


def _no_type(ctx: Any) -> str:
    del ctx
    return ""
