"""tltool review."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tltool.cli.terminal import interrupts, shared_options
from tltool.cli.terminal.console import err, line, out
from tltool.cli.terminal.error_output import guarded
from tltool.errors import UsageError, counted, some_of

if TYPE_CHECKING:
    from tltool.review.queues import ReviewData


@guarded
def review(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|DATA", help="Folder of a run, or labelled images: any data source."
        ),
    ],
    corrections: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Decisions are added to this file."),
    ] = Path("corrections.csv"),
    who: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Your name in the file.", show_default="the user"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the images of the run are, if they were moved."),
    ] = None,
    suggestions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of `tltool suggest --output`: label its images. They are the first queue.",
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Queue to start with: label-issues, conflicts, copies, mistakes, uncertain, "
            "out-of-distribution, odd-files, suggested, or class-0, class-1 and so on.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes any free port."),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    export_file: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write the images, or those of --queue, for another program instead: a new JSON "
            "file.",
        ),
    ] = None,
    form: Annotated[
        Literal["label-studio", "fiftyone"] | None,
        typer.Option(
            "--format",
            metavar="label-studio|fiftyone",
            help="The program that reads the file of --export.",
            show_default="label-studio",
        ),
    ] = None,
    import_file: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Take the labels of a JSON file of Label Studio or FiftyOne as decisions instead.",
        ),
    ] = None,
    offline: shared_options.Offline = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Review and correct labels on a page in the browser; the images stay unchanged."""
    from tltool.cli.terminal.progress import shown
    from tltool.runs.layout import RunLayout
    from tltool.workflows.preflight.run import check_review, is_run
    from tltool.workflows.review_queues.suggestion_file import read_suggestions

    _check_exchange(export_file, import_file, form, queue)
    check_review(source, data)
    if suggestions is not None:
        read_suggestions(suggestions)
    with shown(quiet=quiet, debug=debug, start="") as display:
        from tltool.workflows.review import read_review, serve_review

        found = read_review(
            source,
            data,
            suggestions=suggestions,
            queue=queue,
            offline=offline,
            observer=display,
        )

    if export_file is not None:
        _export(found, export_file, form or "label-studio", queue)
        return
    if import_file is not None:
        _import(found, import_file, corrections, who)
        return

    def log(sentence: str) -> None:
        line(err(), sentence)

    interrupts.announce_with(_stopping)
    serve_review(
        found,
        RunLayout(Path(source)) if is_run(source) else None,
        corrections=corrections,
        who=who,
        queue=queue,
        port=port,
        browser=browser,
        log=log,
    )


def _check_exchange(
    export_file: Path | None, import_file: Path | None, form: str | None, queue: str | None
) -> None:
    if export_file is not None and import_file is not None:
        raise UsageError("--export and --import are given together", hint="leave out one of them")
    if form is not None and export_file is None:
        raise UsageError("--format needs --export", hint="name the file to write with --export")
    if queue is not None and import_file is not None:
        raise UsageError(
            "--queue does not limit --import, which takes all labels of the file",
            hint="leave out --queue",
        )
    if export_file is not None and form != "fiftyone" and export_file.suffix == ".xml":
        raise UsageError(
            f"'{export_file}' is the name of the labelling interface that is written beside it",
            hint="give a name that ends in .json",
        )
    if export_file is not None and export_file.exists():
        raise UsageError(f"'{export_file}' exists", hint="no file is replaced: give another name")
    if import_file is not None and not import_file.is_file():
        raise UsageError(f"there is no file '{import_file}'", hint="check the path for a typo")


def _export(
    found: "ReviewData", file: Path, form: Literal["label-studio", "fiftyone"], queue: str | None
) -> None:
    from tltool.workflows.exchange_labels import export_labels

    for path in export_labels(found, file, form, queue=queue):
        line(out(), f"written {path}")


def _import(found: "ReviewData", file: Path, corrections: Path, who: str | None) -> None:
    from tltool.workflows.exchange_labels import import_labels
    from tltool.workflows.review import user_name

    result = import_labels(found, file, corrections=corrections, who=who or user_name())
    changed, kept = (result.decisions.get(action, 0) for action in ("relabel", "keep"))
    line(out(), f"{changed:,} other labels and {kept:,} kept ones added to {corrections}")
    if result.known:
        line(out(), f"{result.known:,} were in it already")
    if result.unknown:
        count = counted(len(result.unknown), "image", "images")
        line(
            err(), f"warning: {count} of {file} are not reviewed here: {some_of(result.unknown, 3)}"
        )


def _stopping(sentence: str) -> None:
    line(err(), sentence if sentence.startswith("error") else "the review ends")
