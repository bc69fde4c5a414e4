"""Train with two workers of Ray, kill one of them in mid-shard; print what the manifest says.

python killed_worker.py DATA RUN CACHE KEY=VALUE...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil

from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import finetune

TASK = "ray::_do_piece"


class Killer(SilentObserver):
    """Ends a worker with SIGKILL as soon as the first shard of a view is there."""

    killed: int | None = None
    view = False

    def on_phase(self, name: str, detail: str = "") -> None:
        self.view = detail.startswith("augmented view")

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        if not self.view or self.killed:
            return
        for child in psutil.Process().children(recursive=True):
            if TASK in (child.name(), *child.cmdline()):
                self.killed = child.pid
                child.kill()
                return


def main(data: str, run: str, cache: str, *settings: str) -> None:
    """Train, and print one JSON document."""
    killer = Killer()
    result = finetune(
        data,
        recipe=load_recipe("vgg16", settings),
        out=run,
        feature_cache=Path(cache),
        workers=2,
        observer=killer,
    )
    manifest = json.loads((result.run / "manifest.json").read_text())
    print(json.dumps({"killed": killer.killed, "cluster": manifest["cluster"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
