"""A pass of which several processes compute shards: all that they need, as files of a folder."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.augment.spec import AugmentSpec
from tltool.data.catalog import Item
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.item_columns import ItemColumns, as_columns
from tltool.errors import EnvironmentProblem
from tltool.features.feature_store import FeatureStore
from tltool.features.image_source import ImageSource
from tltool.features.pass_reader import Batch
from tltool.features.shards import ShardPlan, read_shard
from tltool.runs.npz_file import read_arrays
from tltool.storage.durable import write_durably

_PASS, _IMAGES = "pass.json", "images.npz"
_ATTEMPTS = 3  # of shards that cannot be read back


@dataclass(frozen=True)
class View:
    """One pass over images: as they are, or augmented.

    Attributes:
        augment: the augmentation; None for the original images in their own order.
        seed: seed of the run.
        number: of the view.
    """

    augment: AugmentSpec | None = None
    seed: int = 0
    number: int = 0

    def batches(
        self, source: ImageSource, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Return the batches of ``source`` from row ``start`` on, to ``stop``."""
        if self.augment is None:
            return source.original(start=start, stop=stop)
        return source.augmented(
            self.augment, seed=self.seed, epoch=self.number, start=start, stop=stop
        )

    def key(self) -> list[Any] | None:
        """Return what decides the images, JSON-ready; None for original ones."""
        if self.augment is None:
            return None
        return [self.seed, self.number, self.augment.to_json()]


@dataclass(frozen=True)
class SharedPass:
    """One pass over the images of a source.

    Attributes:
        source: the images.
        view: how they are read.
        network: file of the extractor.
        settings: what else a worker needs, JSON-ready.
    """

    source: ImageSource
    view: View
    network: Path
    settings: dict[str, Any]

    @property
    def plan(self) -> ShardPlan:
        """How the pass is divided."""
        return ShardPlan(len(self.source), self.source.batch_size)

    def write(self, folder: Path) -> None:
        """Write everything that ``read_pass`` reads into ``folder``.

        Raises:
            OSError: it cannot be written.
        """
        source, view = self.source, self.view
        columns = as_columns(source.items)
        paths = [os.fsencode(Path(text).absolute()) for text in columns.path_texts]
        arrays = {"paths": np.array(paths), "digests": np.array(columns.digests(), "S")}
        arrays["labels"] = np.asarray(source.labels, np.int64)
        if source.weights is not None:
            arrays["weights"] = source.weights
        memory = io.BytesIO()
        np.savez(memory, allow_pickle=False, **arrays)
        document = {
            "classes": source.classes,
            "decode": source.decode.to_json(),
            "batch_size": source.batch_size,
            "augment_on_gpu": source.augment_on_gpu,
            "augment": view.augment and view.augment.to_json(),
            "view": [view.seed, view.number],
            "network": str(self.network.absolute()),
            "settings": self.settings,
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / _IMAGES, memory.getvalue())
        write_durably(folder / _PASS, json.dumps(document).encode())

    def shard(self, number: int, rows: Callable[[Iterator[Batch]], Any]) -> Any:
        """Return what ``rows`` makes of the batches of a shard."""
        return rows(self.view.batches(self.source, *self.plan.bounds(number)))


def read_pass(folder: Path) -> SharedPass:
    """Return the pass that ``SharedPass.write`` wrote.

    Raises:
        EnvironmentProblem: this process cannot read its files.
    """
    try:
        document = json.loads((folder / _PASS).read_bytes())
        arrays = read_arrays(folder / _IMAGES)
    except OSError as error:
        raise EnvironmentProblem(
            f"a worker cannot read '{error.filename}': {error.strerror}",
            hint="every machine of the cluster needs the images and the run folder under the same "
            "path: put them on a shared disk; TLTOOL_DATA_DIR names the folder of the cache",
        ) from None
    paths, digests = arrays["paths"].tolist(), arrays["digests"].tolist()
    items = ItemColumns(
        Item(Path(os.fsdecode(path)), "", sha256=digest.decode())
        for path, digest in zip(paths, digests, strict=True)
    )
    source = ImageSource(
        items,
        arrays["labels"],
        document["classes"],
        DecodeSpec.from_json(document["decode"]),
        document["batch_size"],
        arrays.get("weights"),
        augment_on_gpu=document["augment_on_gpu"],
    )
    augment = document["augment"] and AugmentSpec.from_json(document["augment"])
    view = View(augment, *document["view"])
    return SharedPass(source, view, Path(document["network"]), document["settings"])


def gather_shards(
    store: FeatureStore,
    folder: Path,
    plan: ShardPlan,
    *,
    compute: Callable[[list[int]], Iterator[int]],
    progress: Callable[[int], None],
) -> None:
    """Append all shards that are missing in ``store``, in their order, and remove them.

    What is in the store and which shards are in the folder is the only progress: after a kill the
    same call goes on.

    Args:
        store: of the pass.
        folder: of the shards.
        plan: how the pass is divided.
        compute: lets the shards with these numbers be made; yields the number of each that is.
        progress: called with the number of rows that are there.

    Raises:
        EnvironmentProblem: shards cannot be read back.
    """
    for _ in range(_ATTEMPTS):
        first = append_shards(store, folder, plan)
        paths = {number: folder / plan.name(number) for number in range(first, plan.shards)}
        missing = [number for number, path in paths.items() if not path.is_file()]
        ready = plan.shards - len(missing)
        for _number in compute(missing) if missing else ():
            ready += 1
            append_shards(store, folder, plan)
            progress(min(ready * plan.rows, plan.count))
        first = append_shards(store, folder, plan)
        if first == plan.shards:
            return
    raise EnvironmentProblem(
        f"the features that workers computed are missing or damaged: '{paths[first]}'",
        hint="check the disk, and that all workers write to the same one",
    )


def append_shards(store: FeatureStore, folder: Path, plan: ShardPlan) -> int:
    """Append the shards that come next, and remove them; return the first number that is missing.

    Args:
        store: of the pass.
        folder: of the shards; it may be missing.
        plan: how the pass is divided.
    """
    while store.rows < plan.count:
        number = store.rows // plan.rows
        start, stop = plan.bounds(number)
        path = folder / plan.name(number)
        columns = read_shard(path)
        if columns is None or len(columns["index"]) != stop - start:
            return number
        store.append(**{name: rows[store.rows - start :] for name, rows in columns.items()})
        store.commit()
        path.unlink(missing_ok=True)
    return plan.shards
