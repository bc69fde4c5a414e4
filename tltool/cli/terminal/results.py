"""Print the result of a command as text on stdout."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tltool.cli.terminal.console import ACCENT, line, out, print_table, printable
from tltool.runs.duration import readable_duration
from tltool.runs.layout import RunLayout

UNKNOWN = "unknown"
_MOST_CLASSES = 50  # lines of a table
_INTERVALS = "Intervals are 95 % confidence intervals."
_HOLD_OUT = "hold out a test set with --test FOLDER or --set data.test_fraction=0.2"


def show_run(document: Mapping[str, Any]) -> None:
    """Print the figures of a training run, its files, and what to type next."""
    show_metrics(document["metrics"])
    run, export = Path(document["run"]), document["export"]
    show_files(run, model=export or run, time=readable_duration(document["seconds"]["total"]))
    model = Path(export).parent if export else run
    show_next(
        ["tltool", "predict", str(model), "IMAGE.jpg"],
        ["tltool", "evaluate", str(run), "FOLDER"],
    )


def show_files(run: Path, **more: object) -> None:
    """Print where a run and its report are, if it has one, and ``more``."""
    report = RunLayout(run).report
    show_fields({"run": run, "report": report if report.exists() else None, **more})


def show_metrics(metrics: Mapping[str, Any]) -> None:
    """Print the accuracy, what speaks against the model, the classes, and all other figures."""
    from tltool.evaluation.report.advice import (
        describe_cross_validation,
        describe_train_overlap,
        warnings_of,
    )
    from tltool.evaluation.report.text_tables import describe_accuracy, remarks

    console = out()
    estimate = describe_cross_validation(metrics)
    line(console)
    for number, text in enumerate(estimate):
        line(console, (printable(text), "" if number else "bold"))
    line(console, (printable(describe_accuracy(metrics)), "" if estimate else "bold"))
    # `evaluate` has already warned of leakage
    leakage = describe_train_overlap(metrics) if "best" in metrics else None
    for text in (*([leakage] if leakage else []), *warnings_of(metrics)):
        line(console, (printable(text), "yellow"))
    line(console)
    _show_classes(metrics)
    line(console)
    for text in (*_metric_lines(metrics), *remarks(metrics)):
        line(console, printable(text))
    for text in (_INTERVALS, *_notes(metrics)):
        line(console, (text, "dim"))


def _show_classes(metrics: Mapping[str, Any]) -> None:
    """Print the table of the classes, and which conditions are met."""
    from tltool.evaluation.report.text_tables import (
        PER_CLASS_COLUMNS,
        describe_asserts,
        per_class_rows,
    )

    console = out()
    print_table(console, PER_CLASS_COLUMNS, per_class_rows(metrics, _MOST_CLASSES))
    more = len(metrics["per_class"]) - _MOST_CLASSES
    if more > 0:
        line(console, (f"and {more:,} classes with a higher F1 score, in metrics.json", "dim"))
    if metrics["asserts"]:
        line(console)
    for passed, text in describe_asserts(metrics["asserts"]):
        mark = ("met      ", "green") if passed else ("not met  ", "red")
        line(console, mark, printable(text))


def _notes(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the figures of a training run are of."""
    from tltool.evaluation.report.advice import describe_choice
    from tltool.evaluation.report.refit_text import describe_refit
    from tltool.evaluation.report.text_tables import describe_stop

    if "best" not in metrics:
        return
    choice = describe_choice(metrics)
    if choice:
        yield f"{choice[0].upper()}{choice[1:]}: {_HOLD_OUT}."
    if metrics.get("refit"):
        yield describe_refit(metrics)
    if metrics.get("stopped_by_time_limit"):
        yield describe_stop(metrics)


def _metric_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    from tltool.evaluation.report.text_tables import format_rate, format_with_interval

    loss = format_with_interval(metrics, "log_loss")
    yield f"log-loss {loss}{_best_epoch(metrics)}"
    yield (
        f"balanced accuracy {format_rate(metrics['balanced_accuracy'])}, "
        f"ROC-AUC {format_with_interval(metrics, 'roc_auc')}"
    )
    error = format_with_interval(metrics, "ece")
    yield f"calibration error {error}{_calibration_details(metrics)}"
    yield from _selective(metrics["selective"], validation=metrics["split"] == "validation")
    if "tta" in metrics:
        kind, gain = metrics["tta"]["kind"], metrics["tta"]["accuracy_gain"]
        yield (
            f"test-time augmentation ({kind}): {100 * gain['value']:+.1f} points of accuracy "
            f"(95 % interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
        )


def _calibration_details(metrics: Mapping[str, Any]) -> str:
    """Return what to compare the calibration error with, in parentheses; or nothing."""
    before = metrics["ece_uncalibrated"]
    details = [
        f"beyond chance: measured {metrics['ece_raw']:.3f}, expected by chance "
        f"{metrics['ece_expected_by_chance']:.3f}"
    ]
    if abs(metrics["ece_raw_uncalibrated"] - metrics["ece_raw"]) >= 5e-4:
        fitted = ", which was fitted on these images" if metrics["split"] == "validation" else ""
        without = " and test-time augmentation" if "tta" in metrics else ""
        details.append(f"{before:.3f} before temperature scaling{without}{fitted}")
    return f" ({'; '.join(details)})"


def _selective(selective: Mapping[str, Any], *, validation: bool) -> Iterator[str]:
    from tltool.evaluation.report.text_tables import format_rate

    coverage, accuracy = selective.get("coverage"), selective.get("selective_accuracy")
    if coverage is None or accuracy is None:
        return
    rough = "rough " if coverage.get("rough") else ""
    yield (
        f"below the OOD threshold {coverage['value']:.1%} ({rough}95 % interval "
        f"{coverage['low']:.1%} to "
        f"{coverage['high']:.1%}), accuracy on them {format_rate(accuracy)}"
        f"{'; the threshold was set on these images' if validation else ''}"
    )
    ood = selective.get("ood")
    if ood is not None:
        detected = ood["detected"]
        yield (
            f"OOD images detected {detected['value']:.1%} (95 % interval {detected['low']:.1%} to "
            f"{detected['high']:.1%}, n = {ood['n_ood']:,}), AUROC {ood['auroc']['value']:.3f}"
        )


def shown_class(name: str, is_known: bool | None) -> str:
    """Return the class of an image as it is shown: an unknown image has only a nearest one."""
    return f"{UNKNOWN} (nearest: {name})" if is_known is False else name


def show_fields(fields: Mapping[str, object]) -> None:
    """Print names and values below each other, after an empty line; None has no line."""
    console = out()
    fields = {name: value for name, value in fields.items() if value is not None}
    line(console)
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        line(console, (f"{name:<{width}}", "dim"), str(value))


def show_next(*commands: Sequence[str]) -> None:
    """Print commands to type next."""
    console = out()
    line(console)
    line(console, "next:")
    for command in commands:
        line(console, (shlex.join(command), ACCENT), indent=2)


def _best_epoch(metrics: Mapping[str, Any]) -> str:
    """Return the best epoch of a training run, whose weights were kept; nothing without epochs."""
    best = metrics.get("best")
    if not best or not best["phase"]:
        return ""
    if best["phase"] == "probe":
        return "  (linear probe)"
    return f"  (best epoch: phase {best['phase']}, epoch {best['epoch']})"
