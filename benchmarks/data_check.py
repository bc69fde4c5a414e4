"""What `tltool data check` costs, and what its search for copies finds.

python benchmarks/data_check.py speed [--rounds 5]
python benchmarks/data_check.py memory [--files 100000] [--side 32]
python benchmarks/data_check.py copies

Reads flowers128 and hymenoptera from TLTOOL_TEST_DATA. `speed` compares, in alternating rounds of
one process, the whole check with one plain decode of all files by TensorFlow, and in fresh
processes the command with a program that does nothing but that decode. `memory` checks and splits
generated JPEG files; those of less than 32 pixels are not compared with each other. `copies` counts
the clusters among the unchanged images, then plants changed copies of each kind (seed 0) and counts
which are found with the image that they come from: by hash and detail alone, and with the features
of VGG16, whose weights must be at hand.
"""

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image, ImageEnhance

PHOTOS = Path(os.environ.get("TLTOOL_TEST_DATA", "."))
PLAIN = """
import sys
from pathlib import Path
import tensorflow as tf
paths = sorted(str(path) for path in Path(sys.argv[1]).rglob("*.jpg"))
for _ in tf.data.Dataset.from_tensor_slices(paths).map(
    lambda path: tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False),
    num_parallel_calls=tf.data.AUTOTUNE,
):
    pass
"""


def clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def plain_images(paths: list[str]) -> None:
    """Decode every file and hand each image to Python."""
    for _ in _decoded(paths, lambda image: image):
        pass


def plain_shapes(paths: list[str]) -> None:
    """Decode every file and hand only shapes to Python, 64 at a time: the least there is."""
    import tensorflow as tf

    for _ in _decoded(paths, tf.shape).batch(64):
        pass


def _decoded(paths: list[str], kept: Callable):
    import tensorflow as tf

    def decode(path):
        return kept(tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False))

    files = tf.data.Dataset.from_tensor_slices(paths)
    return files.map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def speed(rounds: int) -> None:
    from tltool.data.checks.scan_files import scan_files
    from tltool.data.item_columns import ItemColumns
    from tltool.data.sources.folders.folder import read_folder
    from tltool.events import SilentObserver
    from tltool.workflows.check_data import check_data

    folder = PHOTOS / "flowers128"
    listing = read_folder(folder)
    paths = [str(item.path) for item in listing.items]
    quiet = SilentObserver()
    out = tempfile.mkdtemp()
    os.environ["TLTOOL_DATA_DIR"] = f"{out}/cache"
    ways = {
        "plain decode, images": lambda: plain_images(paths),
        "plain decode, shapes in batches": lambda: plain_shapes(paths),
        "the pass over the files": lambda: scan_files(
            ItemColumns(listing.items), max_pixels=10**8, image_size=224, observer=quiet
        ),
        "the whole check with its report": lambda: check_data(folder, out=out),
    }
    first = {name: clock(work) for name, work in ways.items()}
    found = [{name: clock(work) for name, work in ways.items()} for _ in range(rounds)]
    images, shapes = list(ways)[:2]
    print(f"{len(paths)} files, {rounds} alternating rounds\n")
    print("| what | median s | against images | against shapes |\n|---|---|---|---|")
    for name in ways:
        ratios = [statistics.median(r[name] / r[base] for r in found) for base in (images, shapes)]
        middle = statistics.median(r[name] for r in found)
        print(f"| {name} | {middle:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    commands = {
        "process: plain decode, images": [sys.executable, "-c", PLAIN, str(folder)],
        "process: tltool data check": ["tltool", "data", "check", str(folder), "--out", out],
    }
    took = [
        {
            name: clock(lambda command=command: subprocess.run(command, check=True, stdout=-3))
            for name, command in commands.items()
        }
        for _ in range(min(rounds, 3))
    ]
    base = next(iter(commands))
    for name in commands:
        ratio = statistics.median(each[name] / each[base] for each in took)
        print(f"| {name} | {statistics.median(each[name] for each in took):.2f} | {ratio:.2f} | |")
    name = list(ways)[-1]
    print(f"\n{name}, for the first time in a process: {first[name]:.1f} s")


def memory(files: int, side: int) -> None:
    """Check and split more and more files, each count in a process of its own."""
    print("| files | command | CPU s | wall s | peak MiB |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        written = 0
        for count in sorted({min(1000, files), min(100_000, files), files}):
            for number in range(written, count):
                path = Path(folder) / "photos" / f"c{number % 10}" / f"{number // 1000}"
                path.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path / f"{number}.jpg", quality=80)
            written = count
            for command in COMMANDS:
                arguments = ["one", command, f"{folder}/photos", f"{folder}/{command}{count}"]
                subprocess.run([sys.executable, __file__, *arguments], check=True)


def one(command: str, folder: str, out: str) -> None:
    """Run a command in this process and print what it took."""
    started = time.perf_counter()
    images = COMMANDS[command](folder, Path(out))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = time.perf_counter() - started
    cpu = used.ru_utime + used.ru_stime
    peak = used.ru_maxrss / 1024
    print(f"| {images:,} | {command} | {cpu:.0f} | {seconds:.0f} | {peak:.0f} |", flush=True)


def check(folder: str, out: Path) -> int:
    from tltool.workflows.check_data import check_data

    return check_data(folder, out=out).result.images


def split(folder: str, out: Path) -> int:
    from tltool.workflows.split_data import split_data

    return len(split_data(folder, out=out).catalog)


COMMANDS: dict[str, Callable[[str, Path], int]] = {"data check": check, "data split": split}


def copies() -> None:
    names = ("hymenoptera", "flowers128")
    print("| unchanged images | n | clusters | with features |\n|---|---|---|---|")
    for name in names:
        items = scanned(PHOTOS / name)
        counts = [str(len(clusters)) for clusters in clusters_of(items)]
        print(f"| {name} | {len(items)} | {' | '.join(counts)} |")
    print("\n| images | copy | found | with features |\n|---|---|---|---|")
    for name in names:
        paths = sorted((PHOTOS / name).rglob("*.jp*g"))
        for kind, change in KINDS.items():
            count = 60 if "turned" in kind else 200  # features are for 128 images a check
            chosen = np.random.default_rng(0).choice(len(paths), count, replace=False)
            found = [rate(one, count) for one in planted(paths, chosen, change)]
            print(f"| {name} | {kind} | {' | '.join(found)} |", flush=True)


def rate(found: int, count: int) -> str:
    from tltool.evaluation.metrics.confidence_intervals import wilson_interval

    low, high = wilson_interval(found, count)
    return f"{found} of {count} ({low:.3f} to {high:.3f})"


def scanned(folder: Path) -> Sequence:
    from tltool.data.checks.scan_files import scan_files
    from tltool.data.item_columns import ItemColumns
    from tltool.data.sources.folders.folder import read_folder
    from tltool.events import SilentObserver

    items = ItemColumns(read_folder(folder).items)
    return scan_files(items, max_pixels=10**8, image_size=224, observer=SilentObserver()).items


def clusters_of(items: list) -> list:
    """Return the clusters without and with features."""
    from tltool.data.duplicates.find_duplicates import cluster_duplicates
    from tltool.events import SilentObserver
    from tltool.features.embedding_similarity import EmbeddingSimilarity
    from tltool.weights.weights_store import find

    with tempfile.TemporaryDirectory() as cache:
        similarity = EmbeddingSimilarity(find("vgg16"), Path(cache), SilentObserver())
        return [
            cluster_duplicates(items).clusters,
            cluster_duplicates(items, verify_pairs=similarity).clusters,
        ]


def planted(paths: list[Path], chosen: np.ndarray, change: Callable) -> list[int]:
    """Return how many changed copies are found with the image that they come from.

    Without and with features. A cluster of different images would not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        for number in chosen:
            image = Image.open(paths[number]).convert("RGB")
            for label, kept in (("a", image), ("b", change(image))):
                (Path(folder) / label).mkdir(exist_ok=True)
                kept.save(Path(folder) / label / f"{number}.jpg", quality=90)
        items = scanned(Path(folder))
        return [
            sum(len({items[i].path.name for i in cluster.members}) == 1 for cluster in clusters)
            for clusters in clusters_of(items)
        ]


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    output = io.BytesIO()
    image.save(output, "JPEG", quality=quality)
    return Image.open(output).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (
            round(width * share),
            round(height * share),
            round(width * (1 - share)),
            round(height * (1 - share)),
        )
    )


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half as large": lambda image: image.resize((image.width // 2, image.height // 2)),
    "1.5 times as large": lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
    "JPEG quality 40": lambda image: recompressed(image, 40),
    "JPEG quality 15": lambda image: recompressed(image, 15),
    "2 % cut off each side": lambda image: cropped(image, 0.02),
    "3 % cut off each side": lambda image: cropped(image, 0.03),
    "5 % cut off each side": lambda image: cropped(image, 0.05),
    "20 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "20 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "40 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.4),
    "30 % more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "turned by 1 degree": lambda image: image.rotate(1, Image.Resampling.BICUBIC),
    "turned by 2 degrees": lambda image: image.rotate(2, Image.Resampling.BICUBIC),
    "turned by 2 degrees and cut": lambda image: cropped(
        image.rotate(2, Image.Resampling.BICUBIC), 0.03
    ),
}


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        return one(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("speed", "memory", "copies"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=32, help="pixels of the files of memory")
    given = parser.parse_args()
    work = {
        "speed": lambda: speed(given.rounds),
        "memory": lambda: memory(given.files, given.side),
        "copies": copies,
    }
    return work[given.what]()


if __name__ == "__main__":
    main()
