"""Short table of layers: a residual block is one line, equal blocks are folded into one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tltool.models.layer_table import LayerRow


@dataclass(frozen=True, slots=True)
class Fold:
    """Layers shown as one line: a window with the layers that follow, a block, or equal blocks.

    Attributes:
        label: name of the layer, or stage and numbers of the blocks.
        stage: the backbone's stage, or ``head``.
        kind: class of the layer, or Block.
        output: of the last layer.
        windows: windows along the main path, without the shortcut, such as ``3x3/2 max``.
        blocks: number of equal blocks; 1 for a single layer.
        receptive_field: of the last layer, pixels.
        parameters: of all layers together.
        multiply_adds: of all layers together, for one image.
    """

    label: str
    stage: str
    kind: str
    output: tuple[int, ...]
    windows: str
    blocks: int
    receptive_field: int
    parameters: int
    multiply_adds: int


_BLOCK_END = re.compile(r"(_se|_squeeze_excite)?_[a-z0-9]+$")
_MERGES = ("Add", "Concatenate", "Multiply")
_WINDOW_KINDS = {
    "MaxPooling2D": " max",
    "AveragePooling2D": " mean",
    "GlobalAveragePooling2D": " mean",
}


def window_text(row: LayerRow) -> str:
    """Return side, stride and kind of a layer's window; empty if it has none."""
    if row.kernel is None or row.kind == "Flatten":
        return "flatten" if row.kernel else ""
    stride = f"/{row.stride}" if row.stride > 1 else ""
    return f"{row.kernel}x{row.kernel_width}{stride}{_WINDOW_KINDS.get(row.kind, '')}"


def fold_rows(rows: Sequence[LayerRow]) -> list[Fold]:
    """Return the lines of the short table, which cover every layer of ``rows``."""
    folds: list[Fold] = []
    numbers: dict[str, int] = {}
    for group in _groups(rows):
        fold = _fold(group)
        if fold.kind == "Block":
            numbers[fold.stage] = numbers.get(fold.stage, 0) + 1
            fold = replace(fold, label=f"{fold.stage} block {numbers[fold.stage]}")
            if folds and _same(folds[-1], fold):
                folds[-1] = _joined(folds[-1], fold)
                continue
        folds.append(fold)
    return folds


def _groups(rows: Sequence[LayerRow]) -> list[list[LayerRow]]:
    """Group the rows: blocks, and windows with preceding padding and following layers."""
    groups: list[list[LayerRow]] = []
    blocks, end = _blocks(rows), -1
    for position, row in enumerate(rows):
        inside, just_behind = position <= end, position == end + 1
        if not inside and (just_behind or position in blocks or _begins(row, groups[-1])):
            groups.append([])
        groups[-1].append(row)
        end = blocks.get(position, end)
    return groups


def _blocks(rows: Sequence[LayerRow]) -> Mapping[int, int]:
    """Return first and last position of each block.

    A block is what is named like an addition or a squeeze-and-excitation, together with all that
    lies beside it on parallel paths.
    """
    prefixes = {_BLOCK_END.sub("", row.name) for row in rows if row.kind in ("Add", "Multiply")}
    spans = [*_parallel(rows), *(span for prefix in prefixes for span in _named(prefix, rows))]
    blocks: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if blocks and first <= blocks[-1][1]:
            blocks[-1] = (blocks[-1][0], max(last, blocks[-1][1]))
        else:
            blocks.append((first, last))
    return dict(blocks)


def _named(prefix: str, rows: Sequence[LayerRow]) -> list[tuple[int, int]]:
    # "expanded_conv" does not hold "expanded_conv_1_add", but "block1" holds "block1_1_conv"
    name = re.compile(re.escape(prefix) + ("_" if prefix[-1].isdigit() else r"_(?!\d)"))
    inside = [position for position, row in enumerate(rows) if name.match(row.name)]
    return [(inside[0], inside[-1])] if inside else []


def _parallel(rows: Sequence[LayerRow]) -> list[tuple[int, int]]:
    """Return first and last position of each part of the network with parallel paths."""
    position = {row.name: n for n, row in enumerate(rows)}
    last_use = {position.get(name, -1): n for n, row in enumerate(rows) for name in row.inputs}
    spans, start, reach = [], 0, 0
    for n in range(len(rows)):
        if n == reach:  # one tensor is used by what follows
            if n > start:
                spans.append((start, n))
            start = n + 1
        reach = max(reach, last_use.get(n, n))
    return spans


def _begins(row: LayerRow, group: Sequence[LayerRow]) -> bool:
    if row.kind == "ZeroPadding2D":
        return True
    only_zeros = all(each.kind == "ZeroPadding2D" for each in group)
    return (row.kernel is not None or row.kind == "Dense") and not only_zeros


def _fold(group: Sequence[LayerRow]) -> Fold:
    last = group[-1]
    main = next((row for row in group if row.kernel or row.kind == "Dense"), group[0])
    block = any(row.kind in _MERGES for row in group)
    return Fold(
        label=main.name,
        stage=main.stage,
        kind="Block" if block else main.kind,
        output=last.output,
        windows=" ".join(window_text(row) for row in _main_path(group) if row.kernel),
        blocks=1,
        receptive_field=last.receptive_field,
        parameters=sum(row.parameters for row in group),
        multiply_adds=sum(row.multiply_adds for row in group),
    )


def _main_path(group: Sequence[LayerRow]) -> list[LayerRow]:
    """Return the rows on the path with the most windows: no shortcut, no squeeze-and-excitation."""
    paths: dict[str, list[LayerRow]] = {}
    for row in group:
        inputs = row.inputs[:1] if row.kind == "Multiply" else row.inputs
        before = [paths.get(name, []) for name in inputs]
        longest = max(before, key=lambda path: sum(bool(each.kernel) for each in path))
        paths[row.name] = [*longest, row]
    return paths[group[-1].name]


def _same(fold: Fold, block: Fold) -> bool:
    return (
        (fold.kind, fold.stage, fold.output, fold.windows)
        == (block.kind, block.stage, block.output, block.windows)
        and fold.parameters == fold.blocks * block.parameters
        and fold.multiply_adds == fold.blocks * block.multiply_adds
    )


def _joined(fold: Fold, block: Fold) -> Fold:
    last = block.label.rpartition(" ")[2]
    return replace(
        fold,
        label=f"{fold.label.partition('-')[0]}-{last}",
        blocks=fold.blocks + 1,
        receptive_field=block.receptive_field,
        parameters=fold.parameters + block.parameters,
        multiply_adds=fold.multiply_adds + block.multiply_adds,
    )
