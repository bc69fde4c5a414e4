"""tltool data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli.terminal import options
from tltool.cli.terminal.console import fail, line, out, print_json, print_table, printable
from tltool.cli.terminal.errors import guarded
from tltool.cli.terminal.results import show_fields, show_next
from tltool.cli.terminal.typer_app import Commands

if TYPE_CHECKING:
    from tltool.workflows.check_data import Checked
    from tltool.workflows.split_data import Division

IMAGE_SIZE = 224

app = Commands(help="Look at images and divide them, before any training.")


@app.callback()
def data() -> None:
    """Look at images and divide them, before any training."""


@app.command("check")
@guarded
def check(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="Labelled images: any source that finetune takes."),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Where the report goes; else data_check/NAME."
        ),
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=16, max=2048, metavar="PIXELS", help="What the model will see.")
    ] = IMAGE_SIZE,
    ood_images: options.OodImages = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 when something serious is found.")
    ] = False,
    pixels: options.Pixels = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find what ruins models: bad files, duplicates, leaks, label conflicts, shortcuts."""
    from tltool.cli.terminal.progress import shown
    from tltool.data.sources.open import check_source
    from tltool.workflows.preflight.output_paths import check_report

    check_source(source, ood_images=ood_images, min_classes=1)
    check_report(source, folder)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.check_data import check as workflow

        found = workflow(
            source,
            out=folder,
            image_size=image_size,
            ood_images=ood_images,
            pixels=pixels,
            offline=offline,
            observer=display,
        )
    if json:
        print_json(found.to_json())
    else:
        _show_check(found, _settings(ood_images, pixels, image_size))
    if strict and found.result.count("serious"):
        fail(f"{found.result.describe_serious()} in {source}", f"see {found.issues}")
        raise typer.Exit(3)


@app.command("split")
@guarded
def split(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Images: any source that finetune takes.")
    ],
    validation: Annotated[
        float | None,
        typer.Option("--val", metavar="SHARE", help="Share for validation; 0 for none, else 0.15."),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option("--test", metavar="SHARE", help="Share for the test; 0 for none, else 0.15."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|folder|REGEX",
            help="What keeps images on one side: a column of the table, the folder below the "
            "class, or what the expression finds in the path.",
        ),
    ] = None,
    kfold: Annotated[
        int | None,
        typer.Option(min=2, max=99, metavar="K", help="Divide all but the test into K folds too."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Another one, another split.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Write split.csv there; the folder is empty or absent."
        ),
    ] = None,
    how: Annotated[
        Literal["copy", "link", "list"],
        typer.Option(
            metavar="copy|link|list",
            help="Copy the images there too, link them, or only list them.",
        ),
    ] = "list",
    ood_images: options.OodImages = None,
    pixels: options.Pixels = None,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Divide images into training, validation and test; copies and groups stay together."""
    from tltool.cli.terminal.progress import shown
    from tltool.data.sources.open import check_source
    from tltool.errors import UsageError

    if how != "list" and folder is None:
        raise UsageError(f"--how {how} needs a folder", hint="give it with --out")
    check_source(source, ood_images=ood_images)
    with shown(quiet=quiet, debug=debug, start="") as display:
        from tltool.workflows.split_data import split_data

        found = split_data(
            source,
            validation=validation,
            test=test,
            group=group,
            kfold=kfold,
            seed=seed,
            out=folder,
            how=how,
            ood_images=ood_images,
            pixels=pixels,
            offline=offline,
            observer=display,
        )
    if json:
        written = str(found.written) if found.written else None
        print_json({"photos": len(found.catalog), "classes": found.counts(), "written": written})
    else:
        _show_split(found, how)


def _settings(ood_images: str | None, pixels: str | None, image_size: int) -> list[str]:
    """Return what makes finetune see the images as the check did."""
    keys = {"data.ood_images": ood_images, "data.pixels": pixels}
    if image_size != IMAGE_SIZE:
        keys["data.image_size"] = str(image_size)
    return [word for key, text in keys.items() if text for word in ("--set", f"{key}={text}")]


def _show_check(found: "Checked", settings: list[str]) -> None:
    from tltool.data.checks.check_result import summary
    from tltool.data.checks.file_findings import MANY

    console, result = out(), found.result
    line(console)
    counts = f"{result.images:,} images, {len(result.items):,} usable, {result.bytes / 1e6:,.1f} MB"
    line(console, (printable(result.source), "bold"), f"  {counts}")
    line(console)
    rows = [(each.what, each.verdict, each.told) for each in summary(result)]
    print_table(console, ("check", "verdict", "found"), rows)
    show_fields({"report": found.report, "issues": found.issues})
    if result.count("serious"):
        line(console)
        line(console, f"{result.describe_serious()}: mend what is wrong before training.")
        for finding in result.findings:
            if finding.kind == MANY:
                line(console, f"{finding.detail}: {finding.suggestion}.")
    elif result.shape is not None:
        recipe = ["--recipe", result.recipe] if result.recipe else []
        setting = f"data.resize={result.shape.recommended}"
        show_next(["tltool", "finetune", result.source, *recipe, "--set", setting, *settings])


def _show_split(found: "Division", how: str) -> None:
    from tltool.workflows.dataset.export_split import FILE
    from tltool.workflows.split_data import counts_rows

    console = out()
    line(console)
    print_table(console, *counts_rows(found.counts()))
    if found.written is None:
        line(console)
        line(console, "Nothing was written; --out FOLDER keeps this split.")
        return
    file = found.written / FILE
    line(console)
    line(console, f"{len(found.catalog):,} images {_DONE[how]}, see {file}")
    command = ["tltool", "finetune", str(file)]
    if found.ood_folder:
        command += ["--set", f"data.ood_images={found.ood_folder}"]
    count = len(set(found.split.folds) - {None})
    show_next(*([[*command, "--kfold", str(count)]] if count else []), command)


_DONE = {"copy": "copied", "link": "linked", "list": "listed"}
