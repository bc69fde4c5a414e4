"""What an epoch on images costs beside the network: reading the images, and saving the state.

python -m benchmarks.epoch_overhead images [--rounds 5]
python -m benchmarks.epoch_overhead state [--rounds 5]

`images` reads the training images of hymenoptera from TLTOOL_TEST_DATA at 224 pixels, without
augmentation: from the files, and decoded once with 8-bit or exact pixels; in alternating passes of
one process, in CPU seconds of the process. `state` saves states of several sizes and compares how
long training waits for `save` with how long writing takes, in wall seconds.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf

from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.events import SilentObserver
from tltool.features.image_source import ImageSource
from tltool.runs.state import RunState, StateFolder

SIDE, SIZES = 224, (0.3, 30, 300)  # MiB: a head, the last stage of VGG16, two copies of ResNet-101


def pass_seconds(source: ImageSource) -> float:
    """Return the CPU seconds of one pass."""
    started = time.process_time()
    for _ in source.original():
        pass
    return time.process_time() - started


def images(rounds: int) -> None:
    tf.config.experimental.enable_op_determinism()  # as in every run
    listing = read_folder(Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera")
    items = [item for item in listing.items if item.given_split in (None, "train")]
    labels = np.array([item.label == "bees" for item in items], np.int64)
    files = ImageSource(items, labels, 2, DecodeSpec(SIDE, SIDE, "crop"), batch_size=32)
    quiet = SilentObserver()
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "files": files,
            "decoded once, 8-bit": files.decode_once(Path(folder) / "8", "uint8", quiet),
            "decoded once, exact": files.decode_once(Path(folder) / "32", "float32", quiet),
        }
        for source in ways.values():
            pass_seconds(source)  # traces the pipeline
        found = [{name: pass_seconds(ways[name]) for name in ways} for _ in range(rounds)]
    print(f"{len(files)} images, {rounds} rounds\n")
    print("| images from | CPU ms an image | share of files |\n|---|---|---|")
    for name in ways:
        each = 1000 * median(row[name] for row in found) / len(files)
        share = median(row[name] / row["files"] for row in found)
        print(f"| {name} | {each:.2f} | {share:.3f} |")


def state(rounds: int) -> None:
    print("| state, MiB | save, ms | written after, ms |\n|---|---|---|")
    for size in SIZES:
        rng = np.random.default_rng(0)
        arrays = {
            str(number): rng.normal(size=int(size * 2**20 / 4 / 8)).astype(np.float32)
            for number in range(8)
        }
        with tempfile.TemporaryDirectory(dir=".") as folder:
            states, saved, written = StateFolder(Path(folder)), [], []
            for number in range(rounds):
                started = time.perf_counter()
                states.save(RunState({"epoch": number}, arrays))
                saved.append(time.perf_counter() - started)
                states.wait()
                written.append(time.perf_counter() - started)
        print(f"| {size:g} | {1000 * median(saved):.1f} | {1000 * median(written):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("images", "state"))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    {"images": images, "state": state}[given.what](given.rounds)


if __name__ == "__main__":
    main()
