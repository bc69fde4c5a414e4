"""Short table of layers: a residual block is one line, equal blocks are folded into one."""

from __future__ import annotations

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
    return f"{row.kernel}x{row.kernel}{stride}{_WINDOW_KINDS.get(row.kind, '')}"


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
    """Return first and last position of each residual block: layers named like its addition."""
    prefixes = [row.name.rpartition("_")[0] for row in rows if row.kind == "Add"]
    blocks = {}
    for prefix in prefixes:
        inside = [i for i, row in enumerate(rows) if row.name.startswith(f"{prefix}_")]
        blocks[inside[0]] = inside[-1]
    return blocks


def _begins(row: LayerRow, group: Sequence[LayerRow]) -> bool:
    if row.kind == "ZeroPadding2D":
        return True
    only_zeros = all(each.kind == "ZeroPadding2D" for each in group)
    return (row.kernel is not None or row.kind == "Dense") and not only_zeros


def _fold(group: Sequence[LayerRow]) -> Fold:
    last = group[-1]
    main = next((row for row in group if row.kernel or row.kind == "Dense"), group[0])
    block = any(row.kind == "Add" for row in group)
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
    """Return the rows on the path with the most windows, which is not the shortcut."""
    paths: dict[str, list[LayerRow]] = {}
    for row in group:
        before = [paths.get(name, []) for name in row.inputs]
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
