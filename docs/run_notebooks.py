"""Execute the notebooks of the tutorials; an error in a cell is exit code 1.

``python docs/run_notebooks.py`` writes them with their outputs to ``build/notebooks``. Each runs in
a kernel and a temporary folder of its own, on the handwritten digits, with a tiny network of random
weights, so that nothing is downloaded. The notebooks of the repository stay without outputs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from tltool.workflows.samples import write_digits

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = tuple(sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")))
OUT = ROOT / "build" / "notebooks"
TINY = {
    "data.image_size": 32,
    "model.backbone": "tiny_vgg",
    "model.weights": "random",
    "augment.policy": "none",
    "train.cache": "on",
}
_SECONDS = 600


def main() -> int:
    """Execute every notebook; return the exit code."""
    OUT.mkdir(parents=True, exist_ok=True)
    failed = False
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            write_digits(Path(folder) / "digits")
            try:
                notebook = execute(path, Path(folder), data="digits", settings=TINY)
            except nbclient.exceptions.CellExecutionError as error:
                sys.stderr.write(f"{path.relative_to(ROOT)}: {error}\n")
                failed = True
                continue
        nbformat.write(notebook, OUT / path.name)  # type: ignore[no-untyped-call]
    return int(failed)


def execute(path: Path, folder: Path, *, data: str, settings: Mapping[str, Any]) -> Any:
    """Return a notebook with its outputs.

    Args:
        path: of the notebook; its cell with the tag ``parameters`` is replaced.
        folder: the kernel's working folder.
        data: the images, relative to it.
        settings: keys of the recipe.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = f"data = {data!r}\nsettings = {json.dumps(settings)}"
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(
        notebook, timeout=_SECONDS, startup_timeout=_SECONDS, resources=where
    ).execute()
    return notebook


if __name__ == "__main__":
    sys.exit(main())
