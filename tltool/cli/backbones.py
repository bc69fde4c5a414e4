"""tltool backbones."""

from typing import Any

from tltool.cli import options
from tltool.cli.boundary import guarded
from tltool.cli.console import out, print_json, print_table


@guarded
def backbones(json: options.Json = False, debug: options.Debug = False) -> None:
    """List the backbones: stages, sizes, licences, weights at hand."""
    from tltool.workflows.backbones import backbone_rows

    rows = backbone_rows()
    if json:
        print_json(rows)
        return
    cells = [
        [
            row["name"],
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['image_size']}",
            f"{row['stages'][0]} … {row['stages'][-1]}",
            _weights(row),
            row["licence"],
        ]
        for row in rows
    ]
    columns = ["name", "parameters", "input", "stages", "weights", "licence"]
    print_table(out(), columns, cells)


def _weights(row: dict[str, Any]) -> str:
    if not row["licence"]:
        return "none"
    return "at hand" if row["weights_at_hand"] else "not here"
