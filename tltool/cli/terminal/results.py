"""What a command has found out, as text on stdout."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tltool.cli.terminal.console import ACCENT, line, out, print_table, printable
from tltool.runs.layout import RunLayout

UNKNOWN = "unknown"


def show_run(document: Mapping[str, Any]) -> None:
    """Print the figures of a training run, its files, and what to type next."""
    show_metrics(document["metrics"])
    run, export = Path(document["run"]), document["export"]
    show_files(run, model=export or run, time=duration(document["seconds"]["total"]))
    model = Path(export).parent if export else run
    show_next(
        ["tltool", "predict", str(model), "PHOTO.jpg"],
        ["tltool", "evaluate", str(run), "FOLDER"],
    )


def show_files(run: Path, **more: object) -> None:
    """Print where a run and its report are, if it has one, and ``more``."""
    report = RunLayout(run).report
    show_fields({"run": run, "report": report if report.exists() else None, **more})


def show_metrics(metrics: Mapping[str, Any]) -> None:
    """Print the figures of an evaluation."""
    from tltool.evaluation.report.advice import seen_in_training
    from tltool.evaluation.report.tables import (
        PER_CLASS_COLUMNS,
        describe_asserts,
        per_class_rows,
        remarks,
    )

    console = out()
    rate = metrics["accuracy"]
    low_high = f"  (95 % interval {rate['low']:.3f} to {rate['high']:.3f}, n = {metrics['n']}, "
    line(console)
    told = f"{low_high}{printable(metrics['evaluated_on'])})"
    line(console, (f"accuracy {rate['value']:.3f}", "bold"), told)
    seen = seen_in_training(metrics) if "best" in metrics else None  # `evaluate` has warned of them
    if seen:
        line(console, (seen, "yellow"))
    for text in (*_figures(metrics), *remarks(metrics)):
        line(console, printable(text))
    if metrics["part"] == "validation" and "best" in metrics:
        line(
            console,
            (
                "These images also chose the best epoch, so the figures are a little optimistic; "
                "--test FOLDER or --set data.test_fraction=0.2 keeps images apart for honest ones.",
                "dim",
            ),
        )
    line(console)
    print_table(console, PER_CLASS_COLUMNS, per_class_rows(metrics))
    if metrics["asserts"]:
        line(console)
    for passed, text in describe_asserts(metrics["asserts"]):
        mark = ("met      ", "green") if passed else ("not met  ", "red")
        line(console, mark, printable(text))


def _figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    yield f"log-loss {metrics['log_loss']:.3f}{_kept(metrics)}"
    auc = metrics["roc_auc"]
    yield (
        f"balanced accuracy {metrics['balanced_accuracy']['value']:.3f}, "
        f"ROC-AUC {'–' if auc is None else f'{auc:.3f}'}, "
        f"calibration error {metrics['ece']:.3f}{_of_calibration(metrics)}"
    )
    yield from _refused(metrics["refusal"], own=metrics["part"] == "validation")
    if "tta" in metrics:
        kind, gain = metrics["tta"]["kind"], metrics["tta"]["accuracy_gain"]
        yield (
            f"averaging over {kind}: {100 * gain['value']:+.1f} points of accuracy "
            f"(95 % interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
        )


def _of_calibration(metrics: Mapping[str, Any]) -> str:
    """Return what the calibration error is to be compared with, in brackets; or nothing."""
    before, after, chance = (metrics[f"ece{end}"] for end in ("_uncalibrated", "", "_by_chance"))
    told = []
    if abs(before - after) >= 5e-4:
        own = ", which was set on these images" if metrics["part"] == "validation" else ""
        plain = " and without changed copies" if "tta" in metrics else ""
        told.append(f"{before:.3f} before calibration{plain}{own}")
    if after <= chance:
        told.append(f"chance alone makes up to {chance:.3f} with so few images")
    return f" ({'; '.join(told)})" if told else ""


def _refused(refusal: Mapping[str, Any], *, own: bool) -> Iterator[str]:
    known, right, other = (refusal.get(key) for key in ("known", "accuracy_of_known", "other"))
    if known is None or right is None:
        return
    yield (
        f"known images {known['value']:.1%} (95 % interval {known['low']:.1%} to "
        f"{known['high']:.1%}), accuracy on them {right['value']:.3f}"
        f"{'; the border was set on these photos' if own else ''}"
    )
    if other is not None:
        refused = other["refused"]
        yield (
            f"images of something else refused {refused['value']:.1%} "
            f"(95 % interval {refused['low']:.1%} to {refused['high']:.1%}, n = "
            f"{other['n_others']:,})"
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


def duration(seconds: float) -> str:
    """Return a length of time with the digits that matter, such as ``4 min 05 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _kept(metrics: Mapping[str, Any]) -> str:
    """Return which epoch's model was kept, where a training run tells."""
    best = metrics.get("best")
    if not best or not best["phase"]:
        return ""
    epoch = f", epoch {best['epoch']}" if best["epoch"] else ""
    return f"  (the model kept is that of phase {best['phase']}{epoch})"
