"""tltool data."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli.terminal import shared_options, training
from tltool.cli.terminal.console import fail, line, out, print_json, print_table, printable
from tltool.cli.terminal.error_output import guarded
from tltool.cli.terminal.results import show_fields, show_next
from tltool.cli.terminal.streams import before_verdict
from tltool.cli.terminal.typer_app import Commands
from tltool.runs.readable_size import readable_size

if TYPE_CHECKING:
    from tltool.workflows.check_data import DataCheck
    from tltool.workflows.split_data import DataSplit

IMAGE_SIZE = 224

app = Commands(help="Check and split images before training.")


@app.callback()
def data() -> None:
    """Check and split images before training."""


@app.command("check")
@guarded
def check(
    source: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Labelled images: any data source of finetune."),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder for the report; by default data_check/NAME."
        ),
    ] = None,
    image_size: Annotated[
        int,
        typer.Option(min=16, max=2048, metavar="PIXELS", help="Side of the model's square input."),
    ] = IMAGE_SIZE,
    ood_images: shared_options.OodImages = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 3 if there are serious findings.")
    ] = False,
    workers: training.Workers = None,
    cluster: training.Cluster = None,
    pixels: shared_options.Pixels = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Find bad files, duplicates, data leakage, label conflicts, class imbalance and shortcuts."""
    from tltool.cli.terminal.progress import shown
    from tltool.data.sources.open import check_source
    from tltool.workflows.preflight.output_paths import check_report
    from tltool.workflows.workers import checked_workers

    checked_workers(workers, cluster)
    check_source(source, ood_images=ood_images, min_classes=1)
    check_report(source, folder)
    with shown(quiet=quiet, debug=debug) as display:
        from tltool.workflows.check_data import check_data

        checked = check_data(
            source,
            out=folder,
            image_size=image_size,
            ood_images=ood_images,
            pixels=pixels,
            offline=offline,
            workers=workers,
            cluster=cluster,
            observer=display,
        )
    with before_verdict():
        if json:
            print_json(checked.to_json())
        else:
            _show_check(checked, _settings(ood_images, pixels, image_size))
    if strict and checked.result.count("serious"):
        fail(f"{checked.result.describe_serious()} in {source}", f"see {checked.issues}")
        raise typer.Exit(3)


@app.command("split")
@guarded
def split(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled images: any data source of finetune.")
    ],
    validation: Annotated[
        float | None,
        typer.Option(
            "--val", metavar="SHARE", help="Share of the validation set, 0 for none. Default 0.15."
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            "--test", metavar="SHARE", help="Share of the test set, 0 for none. Default 0.15."
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|folder|REGEX",
            help="Keep the images of one group in one split. A group is defined by a column of the "
            "table, the folder below the class, or a regular expression for the path.",
        ),
    ] = None,
    kfold: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=99,
            metavar="K",
            help="Also assign the images outside the test set to K cross-validation folds.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Random seed of the split.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Write split.csv to this empty or new folder."
        ),
    ] = None,
    how: Annotated[
        Literal["copy", "link", "list"],
        typer.Option(
            metavar="copy|link|list",
            help="Copy or link the images to --out as well, or only list them.",
        ),
    ] = "list",
    ood_images: shared_options.OodImages = None,
    pixels: shared_options.Pixels = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Split images into train, validation and test; duplicates and groups stay together."""
    from tltool.cli.terminal.progress import shown
    from tltool.data.sources.open import check_source
    from tltool.errors import UsageError

    if how != "list" and folder is None:
        raise UsageError(f"--how {how} needs a folder", hint="set --out")
    check_source(source, ood_images=ood_images)
    with shown(quiet=quiet, debug=debug, start="") as display:
        from tltool.workflows.split_data import split_data

        result = split_data(
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
        written = str(result.written) if result.written else None
        print_json({"images": len(result.catalog), "classes": result.counts(), "written": written})
    else:
        _show_split(result, how)


@app.command("apply-corrections")
@guarded
def apply_corrections(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled images: any data source of finetune.")
    ],
    corrections: Annotated[
        Path,
        typer.Option("--corrections", metavar="FILE", help="Decisions made with `tltool review`."),
    ],
    write: Annotated[
        Path,
        typer.Option("--write", metavar="FOLDER", help="An empty or new folder for the copy."),
    ],
    add: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGES",
            help="Images without labels: those that a decision gives a label are added.",
        ),
    ] = None,
    corrections_by: training.CorrectionsBy = None,
    how: Annotated[
        Literal["copy", "link"],
        typer.Option(metavar="copy|link", help="Copy the images, or link to them."),
    ] = "copy",
    pixels: shared_options.Pixels = None,
    offline: shared_options.Offline = False,
    json: shared_options.Json = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Copy images to a new folder, with corrected labels; the images themselves stay unchanged."""
    from tltool.cli.terminal.progress import shown
    from tltool.data.corrections.apply import load_corrections
    from tltool.data.sources.open import check_source
    from tltool.workflows.dataset.split_checks import check_empty
    from tltool.workflows.preflight.model_arguments import check_inputs

    check_empty(write, option="--write")
    load_corrections(corrections, prefer=corrections_by)
    check_source(source)
    if add is not None:
        check_inputs([add])
    with shown(quiet=quiet, debug=debug, start="") as display:
        from tltool.workflows.apply_corrections import apply_corrections as workflow

        result = workflow(
            source,
            corrections,
            write=write,
            add=add,
            corrections_by=corrections_by,
            how=how,
            pixels=pixels,
            offline=offline,
            observer=display,
        )
    if json:
        print_json({**asdict(result), "folder": str(result.folder)})
        return
    line(out())
    line(
        out(),
        f"{result.images:,} images written, {result.relabelled:,} with another label; "
        f"{result.excluded:,} left out" + (f", {result.added:,} added" if add else ""),
    )
    show_next(["tltool", "finetune", str(write)])


def _settings(ood_images: str | None, pixels: str | None, image_size: int) -> list[str]:
    """Return the settings with which finetune reads the images as the check did."""
    keys = {"data.ood_images": ood_images, "data.pixels": pixels}
    if image_size != IMAGE_SIZE:
        keys["data.image_size"] = str(image_size)
    return [word for key, text in keys.items() if text for word in ("--set", f"{key}={text}")]


def _show_check(checked: "DataCheck", settings: list[str]) -> None:
    from tltool.data.checks.check_result import summary
    from tltool.data.checks.file_findings import TOO_MANY_UNUSABLE

    console, result = out(), checked.result
    line(console)
    counts = (
        f"{result.images:,} images, {len(result.items):,} usable, {readable_size(result.bytes)}"
    )
    line(console, (printable(result.source), "bold"), f"  {counts}")
    line(console)
    rows = [(each.check, each.verdict, each.message) for each in summary(result)]
    print_table(console, ("check", "verdict", "result"), rows)
    show_fields({"report": checked.report, "issues": checked.issues})
    if result.count("serious"):
        line(console)
        line(console, f"{result.describe_serious()}: fix them before training.")
        for finding in result.findings:
            if finding.kind == TOO_MANY_UNUSABLE:
                line(console, f"{finding.detail}: {finding.suggestion}.")
    elif result.shape is not None:
        recipe = ["--recipe", result.recipe] if result.recipe else []
        setting = f"data.resize={result.shape.recommended}"
        show_next(["tltool", "finetune", result.source, *recipe, "--set", setting, *settings])


def _show_split(result: "DataSplit", how: str) -> None:
    from tltool.workflows.dataset.counts_table import counts_table
    from tltool.workflows.preflight.output_paths import SPLIT_FILE

    console = out()
    line(console)
    print_table(console, *counts_table(result.counts()))
    if result.written is None:
        line(console)
        line(console, "The split was not written; to write it, set --out FOLDER.")
        return
    file = result.written / SPLIT_FILE
    line(console)
    line(console, f"{len(result.catalog):,} images {_DONE[how]}, see {file}")
    command = ["tltool", "finetune", str(file)]
    if result.ood_folder:
        command += ["--set", f"data.ood_images={result.ood_folder}"]
    count = len(set(result.split.folds) - {None})
    show_next(*([[*command, "--kfold", str(count)]] if count else []), command)


_DONE = {"copy": "copied", "link": "linked", "list": "listed"}
