"""Review labels on a page of this machine; decisions go to a corrections file, images stay."""

from __future__ import annotations

import getpass
import secrets
import webbrowser
from collections.abc import Callable
from pathlib import Path

from tltool.errors import EnvironmentProblem, UsageError
from tltool.events import Observer, SilentObserver
from tltool.review.queues import ReviewData
from tltool.runs.install_hint import install_hint
from tltool.runs.layout import RunLayout, is_artifact
from tltool.workflows.preflight.run import check_review, is_run
from tltool.workflows.review_queues.run_queues import run_review
from tltool.workflows.review_queues.suggestion_queue import with_suggestions

HOST = "127.0.0.1"
CORRECTIONS = Path("corrections.csv")
Log = Callable[[str], None]


def review(
    source: str,
    *,
    corrections: Path = CORRECTIONS,
    who: str | None = None,
    data: Path | None = None,
    suggestions: Path | None = None,
    queue: str | None = None,
    port: int = 0,
    browser: bool = True,
    offline: bool = False,
    log: Log = print,
    observer: Observer | None = None,
) -> None:
    """Serve the page until Ctrl-C. Every decision is on disk before the next image is shown.

    Args:
        source: the folder of a run, or any source of labelled images.
        corrections: where decisions are appended; created if absent.
        who: name of the person; by default that of the user.
        data: the new location of the images of a run, if they were moved.
        suggestions: a file of ``tltool suggest``; its images, without a label, are the first queue.
        queue: name of the queue to start with; by default the first.
        port: of the loopback address; 0 takes a free one.
        browser: open the page in the browser of this machine.
        offline: open no network connection.
        log: called with one sentence per event.
        observer: receives the progress of an audit.

    Raises:
        UsageError, DataError: the run, the images or the file of corrections cannot be used.
        EnvironmentProblem: the port is in use, a package is missing, or the file of corrections
            cannot be written.
    """
    data_to_review = read_review(
        source, data, suggestions=suggestions, queue=queue, offline=offline, observer=observer
    )
    serve_review(
        data_to_review,
        RunLayout(Path(source)) if is_run(source) else None,
        corrections=corrections,
        who=who,
        queue=queue,
        port=port,
        browser=browser,
        log=log,
    )


def read_review(
    source: str,
    data: Path | None = None,
    *,
    suggestions: Path | None = None,
    queue: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> ReviewData:
    """Return the images and queues of a run or of a data set; the arguments are those of `review`.

    Raises:
        UsageError, DataError, EnvironmentProblem: as `review`.
    """
    _check_installed()
    check_review(source, data)
    observer = observer or SilentObserver()
    found = _read(source, data, offline=offline, observer=observer)
    if suggestions is not None:
        found = with_suggestions(found, suggestions, observer)
    names = [one.name for one in found.queues]
    if queue is not None and queue not in names:
        raise UsageError(
            f"no image here is in a queue '{queue}'",
            hint=f"leave out --queue, or give one that has images: {', '.join(names)}",
        )
    return found


def _read(source: str, data: Path | None, *, offline: bool, observer: Observer) -> ReviewData:
    if is_run(source):
        return run_review(RunLayout(Path(source)), data)
    from tltool.training.own_settings import own_settings
    from tltool.workflows.review_queues.data_queues import data_review

    with own_settings():
        return data_review(source, offline=offline, observer=observer)


def serve_review(
    data: ReviewData,
    run: RunLayout | None,
    *,
    corrections: Path = CORRECTIONS,
    who: str | None = None,
    queue: str | None = None,
    port: int = 0,
    browser: bool = True,
    log: Log = print,
) -> None:
    """Serve the page for images and queues until Ctrl-C or SIGTERM.

    Args:
        data: images and queues.
        run: whose model draws heat maps and finds neighbours; None for neither.
        corrections: where decisions are appended.
        who: name of the person.
        queue: to start with.
        port: of the loopback address.
        browser: open the page.
        log: called with one sentence per event.
    """
    from tltool.review.app import make_review_app
    from tltool.review.model_views import ModelViews
    from tltool.review.session import ReviewSession
    from tltool.serving.listener import listen
    from tltool.serving.server import make_server
    from tltool.serving.settings import Settings
    from tltool.workflows.review_queues.run_views import run_views

    session = ReviewSession(data, corrections, who or user_name())
    views = run_views(run, data) if run is not None and is_artifact(run.folder) else ModelViews()
    settings = Settings(check_host=True, drain_seconds=0.0, stop_seconds=5.0)
    token = secrets.token_urlsafe(24)
    with listen(HOST, port) as listener:
        app = make_review_app(session, views, token=token, settings=settings)
        server = make_server(app, settings, _nothing)
        listener.start()
        address = f"{listener.url}/{token}/" + (f"#queue={queue}" if queue else "")
        log(f"{len(data.images):,} images; decisions of {session.who} go to {corrections}")
        log(f"page       {address}")
        if browser and not webbrowser.open(address):
            log("no browser could be opened: open the address above")
        log("Ctrl-C ends the review; every decision is saved already")
        server.run(sockets=list(listener.sockets))
    log(f"the review has ended; to train with it: tltool finetune DATA --corrections {corrections}")


def _nothing() -> None:
    """Nothing has to be done when the server begins to stop."""


def user_name() -> str:
    """Return the name of the user, for decisions without another one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a name for its user
        return "reviewer"


def _check_installed() -> None:
    """Check that the packages of the server are installed.

    Raises:
        EnvironmentProblem: one is not.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise EnvironmentProblem(
            f"the page needs packages that are not installed: {error.name}",
            hint=install_hint("serve"),
        ) from None
