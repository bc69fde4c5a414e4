"""The report of ``tltool monitor``: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tltool.evaluation.drift.monitor_result import (
    TEST_COLUMNS,
    MonitorResult,
    UnusualImage,
    describe_details,
    describe_false_alarms,
    describe_verdict,
    row_of_test,
)
from tltool.evaluation.report.render import page_template
from tltool.evaluation.report.thumbnails import data_uri, thumbnail
from tltool.storage.durable import new_file

_THUMBNAIL = 168  # pixels
_MOST_CLASSES = 30  # rows of the table


def write_monitor_report(path: Path, result: MonitorResult, files: Mapping[str, Path]) -> None:
    """Write the page.

    Args:
        path: the HTML file, which must not exist.
        result: of the comparison.
        files: the files of images by their names; a missing one has no thumbnail.

    Raises:
        UsageError: the file exists.
    """
    page = page_template("monitor_report.html.j2").render(
        result=result,
        verdict=describe_verdict(result),
        details=list(describe_details(result)),
        false_alarms=describe_false_alarms(result.drift),
        columns=TEST_COLUMNS,
        tests=[row_of_test(test) for test in result.drift.tests],
        changes=result.changes[:_MOST_CLASSES],
        confidences=result.confidences,
        images=_thumbnails(result.unusual, files),
    )
    with new_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def _thumbnails(
    images: Sequence[UnusualImage], files: Mapping[str, Path]
) -> list[tuple[UnusualImage, str | None]]:
    """Return each image with its thumbnail as a ``data:`` URI; None where there is no file."""
    pictures = [
        thumbnail(file, _THUMBNAIL) if (file := files.get(image.name)) else None for image in images
    ]
    return [
        (image, None if picture is None else data_uri(picture))
        for image, picture in zip(images, pictures, strict=True)
    ]
