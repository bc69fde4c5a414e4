"""Open and decode the files of a data set in the workers of a command, as one process does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.data.checks.scan_files import scan_part
from tltool.data.checks.scan_state import Scan, ScanState
from tltool.data.item_columns import ItemColumns
from tltool.engine.work import Engine, Piece, Record, Work
from tltool.events import Observer
from tltool.training.devices import choose_devices
from tltool.training.own_settings import own_settings
from tltool.workflows.seen_files import as_seen, check_seen, enter_working_folder

WORK = "scan"
_FILES = 512  # of a piece: some seconds of work


def scan_by_workers(
    engine: Engine, items: ItemColumns, *, max_pixels: int, image_size: int, observer: Observer
) -> Scan:
    """Open and fully decode every file once, in the workers of ``engine``.

    Args:
        engine: has the workers.
        items: the files; the facts of each are added when it has been audited.
        max_pixels: larger images are bad; they are not decoded.
        image_size: side in pixels of the model's input.
        observer: receives the progress.

    Returns:
        what ``scan_files`` returns.

    Raises:
        EnvironmentProblem: a worker sees other files than this process.
    """

    def described(number: int) -> dict[str, Any]:
        start = number * _FILES
        stop = min(start + _FILES, len(items))
        paths = [items.path_texts[index] for index in range(start, stop)]
        return {"paths": paths, "files": as_seen(paths)}

    arguments = {
        "max_pixels": max_pixels,
        "image_size": image_size,
        "working_folder": str(Path.cwd()),
    }
    work = Work(WORK, arguments, title="piece of the check", inputs=described)
    state, done = ScanState(items), 0
    for number, part in engine.map(work, range(-(-len(items) // _FILES))):
        start = number * _FILES
        state.add_part(start, part)
        done += min(_FILES, len(items) - start)
        observer.on_progress(done, len(items))
    return state.result()


def begin_scan(arguments: Mapping[str, Any]) -> Piece:
    """Return the function of a worker that opens and decodes the files of one piece.

    Args:
        arguments: of the work.
    """
    enter_working_folder(arguments["working_folder"])
    choose_devices("cpu")  # several workers cannot share the memory of a GPU that none needs
    limits = {name: arguments[name] for name in ("max_pixels", "image_size")}

    def piece(_: int, described: Mapping[str, Any]) -> Record:
        check_seen(described["files"])
        with own_settings():
            return scan_part(described["paths"], **limits)

    return piece
