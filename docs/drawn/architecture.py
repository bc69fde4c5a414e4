"""The picture of the architecture and the list of rooms, drawn from the imports of the code."""

from __future__ import annotations

import ast
import html
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp

PACKAGE = "tltool"
_OMITTED = {"__main__"}
_BOX, _GAP = (252, 76), (24, 34)
_LANE = 60  # at the right, for arrows that skip floors
_MARGIN = 16
_LINE = 40  # characters of a description in a box

Edges = Mapping[str, frozenset[str]]


def room_edges() -> Edges:
    """Return which top-level room of the package imports which, without implied edges.

    An edge is implied where another path of imports leads to the same room (transitive reduction).
    """
    graph = grimp.build_graph(PACKAGE)
    rooms = {name.removeprefix(f"{PACKAGE}.") for name in graph.find_children(PACKAGE)} - _OMITTED
    edges: dict[str, set[str]] = {room: set() for room in rooms}
    for module in graph.modules - {PACKAGE}:
        source = module.split(".")[1]
        for imported in graph.find_modules_directly_imported_by(module):
            target = imported.split(".")[1] if imported.startswith(f"{PACKAGE}.") else source
            if source != target and source in rooms and target in rooms:
                edges[source].add(target)
    return {
        room: frozenset(t for t in targets if t not in _reached(edges, targets - {t}))
        for room, targets in edges.items()
    }


def _reached(edges: Mapping[str, Iterable[str]], starts: Iterable[str]) -> set[str]:
    reached, waiting = set(), list(starts)
    while waiting:
        room = waiting.pop()
        if room not in reached:
            reached.add(room)
            waiting.extend(edges[room])
    return reached


def floors(edges: Edges) -> list[list[str]]:
    """Return the rooms by floor, the highest first; every import leads to a lower floor."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max((height(target) for target in edges[room]), default=-1)
        return heights[room]

    top = max(height(room) for room in edges)
    for room in edges:  # a room that imports nothing stands right below those that use it
        users = [heights[other] for other, targets in edges.items() if room in targets]
        if not edges[room] and users:
            heights[room] = min(users) - 1
    skipping = {t for room, ts in edges.items() for t in ts if heights[room] - heights[t] > 1}
    return [
        sorted((r for r in edges if heights[r] == level), key=lambda r: (r in skipping, r))
        for level in range(top, -1, -1)
    ]


def description(path: Path) -> str:
    """Return the first line of the docstring of a module or package."""
    file = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def picture(root: Path) -> str:
    """Return the picture as SVG: one box per room, one floor per row, an arrow per import."""
    edges = room_edges()
    rows = floors(edges)
    inner = max(len(row) for row in rows) * (_BOX[0] + _GAP[0]) - _GAP[0] + 2 * _MARGIN
    width = inner + _LANE
    height = len(rows) * (_BOX[1] + _GAP[1]) - _GAP[1] + 2 * _MARGIN
    places = {
        room: (_left(inner, len(row), column), _MARGIN + number * (_BOX[1] + _GAP[1]))
        for number, row in enumerate(rows)
        for column, room in enumerate(row)
    }
    arrows = [
        _arrow(places[room], places[target], lane=inner)
        for room in sorted(edges)
        for target in sorted(edges[room])
    ]
    boxes = [_box(room, places[room], root / PACKAGE) for room in sorted(edges)]
    return "\n".join([_head(width, height), *arrows, *boxes, "</svg>"]) + "\n"


def _left(width: int, count: int, column: int) -> float:
    row = count * (_BOX[0] + _GAP[0]) - _GAP[0]
    return (width - row) / 2 + column * (_BOX[0] + _GAP[0])


def _head(width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" role="img" aria-label="Rooms of tltool and '
        'their imports">\n'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], *, lane: float) -> str:
    """Return an arrow down to the next floor, or through the lane at the right to a lower one."""
    if end[1] - start[1] > _BOX[1] + _GAP[1]:
        x1, y1 = start[0] + _BOX[0], start[1] + _BOX[1] / 2
        x2, y2 = end[0] + _BOX[0], end[1] + _BOX[1] / 2
        return _path(f"M{x1:g} {y1:g}C{lane:g} {y1:g} {lane + _LANE:g} {y2:g} {x2:g} {y2:g}")
    x1, y1 = start[0] + _BOX[0] / 2, start[1] + _BOX[1]
    x2, y2 = end[0] + _BOX[0] / 2, end[1]
    bend = (y2 - y1) / 2
    return _path(f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}")


def _path(way: str) -> str:
    return f'<path d="{way}" fill="none" stroke="#667" stroke-width="1.5" marker-end="url(#head)"/>'


def _box(room: str, place: tuple[float, float], package: Path) -> str:
    x, y = place
    path = package / room if (package / room).is_dir() else package / f"{room}.py"
    lines = textwrap.wrap(description(path), _LINE, max_lines=3, placeholder=" …")
    name = room if path.is_dir() else path.name
    texts = [
        f'<text x="{x + 10:g}" y="{y + 36 + 15 * number:g}" font-size="11" fill="#334">'
        f"{html.escape(line)}</text>"
        for number, line in enumerate(lines)
    ]
    return "\n".join(
        [
            f'<rect x="{x:g}" y="{y:g}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6" '
            'fill="#f3f6fb" stroke="#345"/>',
            f'<text x="{x + 10:g}" y="{y + 19:g}" font-size="14" font-weight="bold" '
            f'fill="#123">{name}</text>',
            *texts,
        ]
    )


def rooms(root: Path) -> list[tuple[str, str]]:
    """Return each folder of the package, in the order of the floors, and what is in it."""
    package = root / PACKAGE
    found = []
    for room in (room for row in floors(room_edges()) for room in row):
        path = package / room if (package / room).is_dir() else package / f"{room}.py"
        found.append((path.relative_to(root).as_posix() + "/" * path.is_dir(), description(path)))
        for inner in sorted(path.glob("*/__init__.py")) if path.is_dir() else ():
            name = inner.parent.relative_to(root).as_posix() + "/"
            found.append((name, description(inner.parent)))
    return found
