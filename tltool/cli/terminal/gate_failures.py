"""A training run that is refused at its end: what it has reached is shown all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tltool.cli.terminal.errors import tell
from tltool.cli.terminal.results import show_files, show_metrics
from tltool.errors import RunRefusedError


@contextmanager
def results_first(*, json: bool) -> Iterator[None]:
    """Show the figures and files of a run before the error that refuses it.

    With ``json`` the error stands in the one document with them.
    """
    try:
        yield
    except RunRefusedError as problem:
        from tltool.workflows.list_runs import show_run

        metrics = show_run(problem.run).metrics  # None where training diverged
        if json:
            found = {"run": str(problem.run), "export": None, "metrics": metrics}
            tell(problem, json=True, found=found)
            raise typer.Exit(problem.exit_code) from None
        if metrics:
            show_metrics(metrics)
        show_files(problem.run)
        raise
