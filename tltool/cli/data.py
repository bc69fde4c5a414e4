"""tltool data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli import options
from tltool.cli.boundary import guarded
from tltool.cli.commands import Commands
from tltool.cli.console import line, out, print_json, print_table
from tltool.cli.results import show_next

if TYPE_CHECKING:
    from tltool.workflows.split import Division

app = Commands(help="Look at photos and divide them, before any training.")


@app.callback()
def data() -> None:
    """Look at photos and divide them, before any training."""


@app.command("split")
@guarded
def split(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Photos: any source that finetune takes.")
    ],
    validation: Annotated[
        float, typer.Option("--val", metavar="SHARE", help="Share for validation; 0 for none.")
    ] = 0.15,
    test: Annotated[
        float, typer.Option("--test", metavar="SHARE", help="Share for the test; 0 for none.")
    ] = 0.15,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|folder|REGEX",
            help="What keeps photos on one side: a column of the table, the folder below the "
            "class, or what the expression finds in the path.",
        ),
    ] = None,
    kfold: Annotated[
        int | None,
        typer.Option(min=2, max=99, metavar="K", help="Divide all but the test into K folds too."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Another one, another split.")] = 0,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write split.csv there; the folder is empty or absent."
        ),
    ] = None,
    how: Annotated[
        Literal["copy", "link", "list"],
        typer.Option(
            metavar="copy|link|list",
            help="Copy the photos there too, link them, or only list them.",
        ),
    ] = "list",
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Divide photos into training, validation and test; copies and groups stay together."""
    from tltool.cli.display import shown
    from tltool.errors import UsageError

    if how != "list" and write is None:
        raise UsageError(f"--how {how} needs a folder", hint="give it with --write")
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.split import split_photos

        found = split_photos(
            source,
            validation=validation,
            test=test,
            group=group,
            kfold=kfold,
            seed=seed,
            write=write,
            how=how,
            offline=offline,
            observer=display,
        )
    if json:
        written = str(found.written) if found.written else None
        print_json({"photos": len(found.catalog), "classes": found.counts(), "written": written})
    else:
        _show(found, source, how)


def _show(found: "Division", source: str, how: str) -> None:
    from tltool.workflows.split import FILE, counts_rows

    console = out()
    line(console)
    print_table(console, *counts_rows(found.counts()))
    if found.written is None:
        line(console)
        line(console, "Nothing was written; --write FOLDER keeps this split.")
        return
    file = found.written / FILE
    line(console)
    line(console, f"{len(found.catalog):,} photos {_DONE[how]}, see {file}")
    folds = [["tltool", "finetune", str(file), "--fold", "0"]] if found.split.folds else []
    show_next(["tltool", "finetune", str(file)], *folds)


_DONE = {"copy": "copied", "link": "linked", "list": "listed"}
