"""Typer as tltool uses it."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help names its arguments without Python's types, such as list[Path]."""

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
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
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


class Commands(typer.Typer):
    """A group of commands, its help drawn without rich, which would double the 0.15 s it takes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(no_args_is_help=True, rich_markup_mode=None, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        """Register a command, see ``typer.Typer.command``."""
        return super().command(name, cls=Command, **settings)


def _no_type(ctx: Any) -> str:
    del ctx
    return ""
