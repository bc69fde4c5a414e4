"""The CSV file of ``tltool suggest``: which images to label next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import DataError, UsageError
from tltool.runs.csv_cells import CsvWriter, csv_rows
from tltool.storage.durable import new_file

COLUMNS = ("path", "predicted", "confidence", "reason", "sha256")


@dataclass(frozen=True)
class Suggestion:
    """An image to label next.

    Attributes:
        path: as the user knows it; of an object in a store its address, as text.
        predicted: the most probable class.
        confidence: its probability.
        reason: why it was chosen.
        sha256: digest of its bytes (hex).
    """

    path: Path | str
    predicted: str
    confidence: float
    reason: str
    sha256: str


def write_suggestions(output: Path, suggestions: Sequence[Suggestion]) -> None:
    """Write one row per image.

    Raises:
        UsageError: ``output`` exists.
        EnvironmentProblem: it cannot be written.
    """
    with (
        new_file(output) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = CsvWriter(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in suggestions:
            confidence = f"{one.confidence:.6f}"
            writer.writerow([one.path, one.predicted, confidence, one.reason, one.sha256])


def read_suggestions(path: Path) -> list[Suggestion]:
    """Return the rows of a file that ``write_suggestions`` wrote.

    Raises:
        UsageError: there is no such file.
        DataError: it is another file, or damaged.
    """
    if not path.is_file():
        raise UsageError(
            f"there is no file '{path}'", hint="`tltool suggest … --output FILE` writes one"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            return [
                Suggestion(
                    row["path"],
                    row["predicted"],
                    float(row["confidence"]),
                    row["reason"],
                    row["sha256"].lower(),
                )
                for row in csv_rows(file)
            ]
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from None
    except (KeyError, ValueError) as error:
        what = f"it has no column {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"'{path}' is no file of suggestions: {what}",
            hint="give a file that `tltool suggest … --output FILE` has written",
        ) from None
