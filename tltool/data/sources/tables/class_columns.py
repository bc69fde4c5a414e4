"""Tables with a column of 0 and 1, or False and True, for each class, and tables of boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from tltool.data.sources.listing import listed
from tltool.data.sources.tables.column_names import ROW_NUMBERS
from tltool.data.sources.tables.table_columns import META
from tltool.data.sources.tables.table_rows import Table
from tltool.errors import DataError

_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_BOXES = ({"xmin", "ymin", "xmax", "ymax"}, {"x_min", "y_min", "x_max", "y_max"}, {"bbox"})


def has_boxes(columns: Sequence[str]) -> bool:
    """Return whether a table has the corners of boxes, as sets for object detection do."""
    return any(names <= set(columns) for names in _BOXES)


def with_label_column(table: Table) -> Table:
    """Return a table of one column per class (one-hot) as one with a column ``label``.

    A table is such a one if it has no column ``label``, and all further columns of its first row
    are 0 or 1 (or False or True, as pandas writes), with a single 1. Any other table is returned
    unchanged.

    Raises:
        DataError: the columns are soft labels, such as probabilities; or a row has no class or
            several, which the rows raise.
    """
    known = ("path", *META, *ROW_NUMBERS)
    classes = [n for n, name in enumerate(table.columns) if name not in known]
    if "label" in table.columns or "path" not in table.columns or len(classes) < 2:
        return table
    first = next(table.rows, None)
    rows = chain([] if first is None else [first], table.rows)
    names = [table.names[n] for n in classes]
    if first is not None and _is_soft(first[1], classes):
        raise DataError(
            f"{table.path}, line {first[0]}: the columns {listed(names)} have values between 0"
            " and 1 (soft labels), not one 1 for the class",
            hint="tltool trains with one class per image: write the class with the highest"
            " value into a column label",
        )
    if first is None or not _is_flags(first[1], classes):
        return replace(table, rows=rows)
    others = [n for n in range(len(table.columns)) if n not in classes]
    note = f"the columns {listed(names)} of {table.path} are read as classes, with 1 for the label"
    return replace(
        table,
        columns=(*(table.columns[n] for n in others), "label"),
        rows=_labelled(table, rows, classes, others),
        notes=[*table.notes, note],
    )


def _is_flags(row: object, classes: Sequence[int]) -> bool:
    assert isinstance(row, list)
    flags = [_flag(row[n]) for n in classes]
    return None not in flags and any(flags)


def _flag(cell: str) -> bool | None:
    return _FLAGS.get(cell.strip().lower())


def _is_soft(row: object, classes: Sequence[int]) -> bool:
    """Return whether a row has values from 0 to 1 that are not all 0 or 1, as soft labels are."""
    assert isinstance(row, list)
    try:
        values = [float(row[n]) for n in classes]
    except ValueError:
        return False
    return all(0 <= value <= 1 for value in values) and any(value % 1 for value in values)


def _labelled(
    table: Table,
    rows: Iterator[tuple[int, object]],
    classes: Sequence[int],
    others: Sequence[int],
) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        assert isinstance(row, list)
        flags = {table.names[n]: _flag(row[n]) for n in classes}
        labels = [name for name, flag in flags.items() if flag]
        if None in flags.values() or len(labels) != 1:
            found = f"the classes {listed(labels)}" if labels else "no class"
            found = "values between 0 and 1 (soft labels)" if _is_soft(row, classes) else found
            raise DataError(
                f"{table.path}, line {line}: the image has {found}, but it must have exactly one 1",
                hint="tltool trains classifiers with one label per image (multi-label is another"
                " task)",
            )
        yield line, [*(row[n] for n in others), labels[0]]
