"""The image sets of protocol.py: a fixed test part, and training images drawn from the rest."""

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Files = dict[str, list[Path]]
"""Files of each class, in an order that never changes."""

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FONTS = (
    "DejaVu Sans",
    "DejaVu Sans Mono",
    "DejaVu Serif",
    "STIXGeneral",
    "cmr10",
    "cmss10",
    "cmtt10",
)
_BURST = 4  # images of one photo
_SEED = 2026  # of the test parts; training images are drawn by the number of the draw


@dataclass(frozen=True)
class ImageSet:
    """One set of the protocol.

    Attributes:
        size: side of the network's input in pixels.
        test: test images per class; of hymenoptera the published test part is used.
        sizes: training images per class.
        write: writes all images below a folder, and returns those to draw from and test images.
        group: images of one photo, which are drawn together.
    """

    size: int
    test: int
    sizes: tuple[int, ...]
    write: Callable[[Path, int], tuple[Files, Files]]
    group: int = 1


def draw_training(pool: Files, count: int, draw: int, group: int) -> Files:
    """Return ``count`` images of each class, whole groups of consecutive files."""
    random = np.random.default_rng((_SEED, draw))
    chosen = {}
    for name, files in pool.items():
        photos = random.permutation(len(files) // group)[: count // group]
        chosen[name] = [files[group * photo + n] for photo in photos for n in range(group)]
    return chosen


def write_table(path: Path, parts: dict[str, Files], group: int) -> None:
    """Write a table of paths for tltool: path, label, split and, with groups, group."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", *(["group"] if group > 1 else [])])
        for split, classes in parts.items():
            for label, files in classes.items():
                for each in files:
                    owner = [each.stem.rpartition("_")[0]] if group > 1 else []
                    writer.writerow([each, label, split, *owner])


def _split_off_test(classes: Files, test: int, group: int = 1) -> tuple[Files, Files]:
    random = np.random.default_rng(_SEED)
    pool: Files = {}
    kept: Files = {}
    for name, files in classes.items():
        photos = random.permutation(len(files) // group)
        ordered = [files[group * photo + n] for photo in photos for n in range(group)]
        kept[name], pool[name] = ordered[:test], ordered[test:]
    return pool, kept


def _shared(name: str) -> Path:
    return Path(os.environ["TLTOOL_TEST_DATA"]) / name


def _by_class(folder: Path) -> Files:
    return {each.name: sorted(each.iterdir()) for each in sorted(folder.iterdir()) if each.is_dir()}


def _flowers(folder: Path, test: int) -> tuple[Files, Files]:
    return _split_off_test(_by_class(_shared("flowers128")), test)


def _hymenoptera(folder: Path, test: int) -> tuple[Files, Files]:
    source = _shared("hymenoptera")
    return _by_class(source / "train"), _by_class(source / "val")


def _digits(folder: Path, test: int) -> tuple[Files, Files]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    classes: Files = {}
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            Image.fromarray(np.uint8(np.clip(pixels * 16, 0, 255))).save(path)
        classes.setdefault(str(label), []).append(path)
    return _split_off_test(classes, test)


def _characters(folder: Path, test: int) -> tuple[Files, Files]:
    """Draw letters and digits in fonts of matplotlib: turned, scaled, shifted, with noise."""
    from matplotlib import font_manager

    fonts = [font_manager.findfont(name) for name in FONTS]
    classes: Files = {}
    for character in CHARACTERS:
        random = np.random.default_rng((_SEED, ord(character)))
        target = folder / character
        target.mkdir(parents=True, exist_ok=True)
        classes[character] = [target / f"{number:03d}.png" for number in range(test + 100)]
        for path in classes[character]:
            font = ImageFont.truetype(str(random.choice(fonts)), int(random.integers(18, 40)))
            paper = random.integers(0, 256, 3)
            ink = (paper + random.integers(80, 177, 3)) % 256
            shift = random.uniform(-6, 6, 2) + 24
            angle, noise = random.uniform(-25, 25), random.normal(0, 45, (48, 48, 3))
            if path.exists():
                continue
            background, colour = (tuple(int(value) for value in each) for each in (paper, ink))
            image = Image.new("RGB", (48, 48), background)
            ImageDraw.Draw(image).text(tuple(shift), character, colour, font, anchor="mm")
            turned = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=background)
            pixels = np.asarray(turned) + noise
            Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).save(path)
    return _split_off_test(classes, test)


def _bursts(folder: Path, test: int) -> tuple[Files, Files]:
    """Write four crops of each flower photo, with other brightness: they belong together."""
    classes: Files = {}
    for name, photos in _by_class(_shared("flowers128")).items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(_SEED)
        for photo in photos[: (test + 100) // _BURST + 5]:
            for number in range(_BURST):
                path = target / f"{photo.stem}_{number}.jpg"
                classes.setdefault(name, []).append(path)
                left, top = random.integers(0, 17, 2)
                bright = random.uniform(0.7, 1.3)
                if not path.exists():
                    crop = Image.open(photo).convert("RGB").resize((128, 128))
                    crop = crop.crop((left, top, left + 112, top + 112))
                    crop.point(lambda value, by=bright: min(255, int(value * by))).save(path)
    return _split_off_test(classes, test, _BURST)


SETS = {
    "flowers128": ImageSet(64, 300, (20, 50, 100), _flowers),
    "digits": ImageSet(48, 100, (20, 50), _digits),
    "hymenoptera": ImageSet(128, 0, (20, 50, 100), _hymenoptera),
    "characters": ImageSet(48, 30, (20, 50, 100), _characters),
    "bursts": ImageSet(64, 240, (20, 48, 100), _bursts, _BURST),
}
