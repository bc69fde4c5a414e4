"""A run that fails a quality gate: its results are shown before the error."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tltool.cli.terminal.error_output import report_error
from tltool.cli.terminal.results import show_files, show_metrics
from tltool.cli.terminal.streams import before_verdict
from tltool.errors import RunGateError


@contextmanager
def show_results_first(*, json: bool) -> Iterator[None]:
    """Print the metrics and files of a run that fails a quality gate, then the error.

    With ``json`` both are in one document.
    """
    try:
        yield
    except RunGateError as problem:
        from tltool.workflows.list_runs import show_run

        metrics = show_run(problem.run).metrics  # None where training diverged
        if json:
            results = {"run": str(problem.run), "export": None, "metrics": metrics}
            with before_verdict():
                report_error(problem, json=True, results=results)
            raise typer.Exit(problem.exit_code) from None
        with before_verdict():
            if metrics:
                show_metrics(metrics)
            show_files(problem.run)
        raise
