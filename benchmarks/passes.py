"""CPU seconds of a pass over 42 images of 40 pixels: with one iterator for all, or one each.

The network is left out: it shows what a pass costs beside reading and decoding. Both ways read the
same images in turn in one process; no real images are needed.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
from PIL import Image

from tltool.augment.spec import AugmentSpec
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.features.image_reader import image_reader
from tltool.features.image_source import ImageSource

IMAGES, SIDE, PASSES = 42, 40, 9


def images(folder: Path) -> ImageSource:
    """Write images of two classes of noise and return them as a source."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(path)
    items = read_folder(folder).items
    labels = np.array([item.label == "b" for item in items], np.int64)
    return ImageSource(items, labels, 2, DecodeSpec(SIDE, SIDE), batch_size=16)


def seconds(source: ImageSource) -> float:
    """Return the CPU seconds of one pass."""
    started = time.process_time()
    for _ in source.original():
        pass
    return time.process_time() - started


def main() -> None:
    tf.config.experimental.enable_op_determinism()  # as in every run
    with tempfile.TemporaryDirectory() as folder:
        source = images(Path(folder))
        first = seconds(source)
        one, each = [], []
        for _ in range(PASSES):
            one.append(seconds(source))
            kept = image_reader.cache_info().currsize
            assert kept == 1
            reader = image_reader(source.decode, AugmentSpec(), 2, 16, None, False)
            idle, reader._idle = reader._idle, []
            each.append(seconds(source))
            reader._idle = idle
    print("| pass | CPU seconds, median | smallest | largest |\n|---|---|---|---|")
    for name, values in (
        ("the first", [first]),
        ("later, one iterator", one),
        ("later, an iterator each", each),
    ):
        print(f"| {name} | {median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()
