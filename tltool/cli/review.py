"""tltool review."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli.terminal import interrupts, shared_options
from tltool.cli.terminal.console import err, line
from tltool.cli.terminal.error_output import guarded


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
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Queue to start with: label-issues, conflicts, mistakes, uncertain, odd-files.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes any free port."),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    offline: shared_options.Offline = False,
    quiet: shared_options.Quiet = False,
    debug: shared_options.Debug = False,
) -> None:
    """Review and correct labels on a page in the browser; the images stay unchanged."""
    from tltool.cli.terminal.progress import shown
    from tltool.runs.layout import RunLayout
    from tltool.workflows.preflight.run import check_review, is_run

    check_review(source, data)
    with shown(quiet=quiet, debug=debug, start="") as display:
        from tltool.workflows.review import read_review, serve_review

        found = read_review(source, data, queue=queue, offline=offline, observer=display)

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


def _stopping(sentence: str) -> None:
    line(err(), sentence if sentence.startswith("error") else "the review ends")
