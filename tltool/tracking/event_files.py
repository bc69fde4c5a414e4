"""Write TensorBoard's event files with TensorFlow, without the package tensorboard."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tltool.runs.layout import RunLayout

FOLDER = "tensorboard"
# every scalar becomes a chart, and a chart of one point is of little use: the rest is a table
HEADLINES = ("final/accuracy", "final/log_loss", "final/ece", "final/macro_f1")


class EventFiles:
    """Writes ``<run>/tensorboard/events.out.tfevents.…``.

    Scalars are named ``PHASE/METRIC`` and their step is the epoch within the phase, as in
    history.csv, so that the curves of the same phase of two runs can be compared; TensorBoard's
    horizontal axis "Wall" shows the phases one after another.

    A resumed run adds another file and does not repeat steps that are already there.
    """

    title = "TensorBoard"

    def __init__(self, run: RunLayout) -> None:
        self._run, self._folder = run, run.folder / FOLDER
        self._writer: Any = None
        self._written: set[tuple[str, int]] = set()

    def epoch(self, phase: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write a scalar for every metric."""
        self._add(epoch, [_scalar(f"{phase}/{name}", value) for name, value in metrics.items()])

    def results(self, figures: Mapping[str, float], plots: Sequence[Path]) -> None:
        """Write the main metrics as scalars, all metrics as a table, and the plots as images."""
        scalars = [_scalar(name, figures[name]) for name in HEADLINES if name in figures]
        images = [_image(f"plots/{plot.stem}", plot) for plot in plots]
        self._add(0, [*scalars, _text("final", _table(figures)), *images])

    def model(self, export: Path) -> str | None:
        """Write nothing: event files do not contain models."""
        del export
        return None

    def close(self, outcome: str) -> None:
        """Close the file; event files do not record the outcome of a run."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, step: int, values: Sequence[Any]) -> None:
        import tensorflow as tf

        self._open()
        new = [value for value in values if (value.tag, step) not in self._written]
        if not new:
            return
        with self._writer.as_default():
            # tf.summary.scalar needs the package tensorboard; this does not
            summary = tf.compat.v1.Summary(value=new).SerializeToString()
            tf.summary.experimental.write_raw_pb(summary, step=step)
        self._writer.flush()
        self._written.update((value.tag, step) for value in new)

    def _open(self) -> None:
        if self._writer is not None:
            return
        import tensorflow as tf

        self._folder.mkdir(exist_ok=True)  # TensorFlow's own error would be unreadable
        self._written = set(written_steps(self._folder))
        self._writer = tf.summary.create_file_writer(os.fsencode(self._folder))
        recipe = self._run.recipe.read_text(encoding="utf-8")
        self._add(0, [_text("recipe", textwrap.indent(recipe, "    "))])  # Markdown, as code


def written_steps(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield (tag, step) of everything in the event files of ``folder``."""
    import tensorflow as tf

    for path in sorted(folder.glob("events.out.tfevents.*")):
        try:
            for record in tf.data.TFRecordDataset(os.fsencode(path)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                yield from ((value.tag, event.step) for value in event.summary.value)
        except tf.errors.DataLossError:
            continue  # a killed run leaves an incomplete record at the end


def _table(figures: Mapping[str, float]) -> str:
    """Return the metrics as a Markdown table."""
    rows = [f"| {name.removeprefix('final/')} | {value:.6g} |" for name, value in figures.items()]
    return "\n".join(["| metric | value |", "| --- | --- |", *rows])


def _scalar(tag: str, value: float) -> Any:
    import tensorflow as tf

    return tf.compat.v1.Summary.Value(tag=tag, simple_value=value)


def _text(tag: str, text: str) -> Any:
    import tensorflow as tf

    value = tf.compat.v1.Summary.Value(tag=tag, tensor=tf.make_tensor_proto(text))
    value.metadata.plugin_data.plugin_name = "text"
    return value


def _image(tag: str, path: Path) -> Any:
    import tensorflow as tf
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
    kind = tf.compat.v1.Summary.Image
    return tf.compat.v1.Summary.Value(
        tag=tag,
        image=kind(
            width=width, height=height, colorspace=4, encoded_image_string=path.read_bytes()
        ),
    )
