"""Near duplicates: every common kind of copy is found, and different images are not."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.conftest import unless_thorough
from tltool.data.audit.audit import audit
from tltool.data.catalog import Item
from tltool.data.duplicates import find_duplicates, hash_regions, image_match, perceptual_hash
from tltool.data.duplicates.find_duplicates import cluster_duplicates
from tltool.data.duplicates.perceptual_hash import distance, near_pairs, pack_hashes
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.folders.folder import read_folder
from tltool.events import SilentObserver

COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "exact": lambda image: image,
    "half as large": lambda image: image.resize((image.width // 2, image.height // 2)),
    "larger": lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
    "recompressed": lambda image: recompressed(image, 40),
    "cropped": lambda image: image.crop(
        (
            round(image.width * 0.03),
            round(image.height * 0.02),
            round(image.width * 0.97),
            round(image.height * 0.98),
        )
    ),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
}


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    output = io.BytesIO()
    image.save(output, "JPEG", quality=quality)
    return Image.open(output).convert("RGB")


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Return an image with structure at every scale, like a photo."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (3 * n, 4 * n, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        for n in (1, 2, 4, 8, 16)
    ]
    weights = np.array([0.35, 0.3, 0.2, 0.1, 0.05])
    mixed = sum(w * np.asarray(layer, float) for w, layer in zip(weights, layers, strict=True))
    return Image.fromarray(np.clip(1.6 * (mixed - 128) + 128, 0, 255).astype(np.uint8))


def write(root: Path, images: dict[str, Image.Image]) -> Sequence[Item]:
    """Write images as ROOT/<label>/<name> and audit them."""
    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name, quality=90)
    audited = audit(
        read_folder(root),
        on_bad="fail",
        max_bad_fraction=0,
        max_pixels=10**8,
        observer=SilentObserver(),
    )
    return audited.catalog.items


def names(items: Sequence[Item]) -> list[set[str]]:
    return [{items[i].path.stem for i in c.members} for c in cluster_duplicates(items).clusters]


def test_every_kind_of_copy_is_clustered_with_its_original_and_nothing_else(tmp_path: Path) -> None:
    images = {f"a/other{n}.jpg": scene(100 + n) for n in range(30)}
    for n, (kind, copy) in enumerate(COPIES.items()):
        images |= {f"a/{kind}.jpg": scene(n), f"b/{kind} copy.jpg": copy(scene(n))}
    items = write(tmp_path, images)
    assert sorted(names(items), key=str) == sorted(({k, f"{k} copy"} for k in COPIES), key=str)
    exact = [items[c.members[0]].path.stem for c in cluster_duplicates(items).clusters if c.exact]
    assert exact == ["exact"]


def test_copies_of_copies_are_one_cluster(tmp_path: Path) -> None:
    first = scene(1)
    images = {"a/1.jpg": first, "b/0.jpg": scene(2)}
    images |= {f"a/{n}.jpg": recompressed(first, 90 - 10 * n) for n in range(2, 6)}
    assert names(write(tmp_path, images)) == [{"1", "2", "3", "4", "5"}]


def test_an_image_with_exif_orientation_is_found(tmp_path: Path) -> None:
    items = write(tmp_path, {"a/1.jpg": scene(1), "b/0.jpg": scene(2)})
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(1).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a" / "2.jpg", exif=exif)
    items = write(tmp_path, {})
    assert names(items) == [{"1", "2"}]


def test_pairs_that_the_thumbnails_do_not_confirm_are_verified(tmp_path: Path) -> None:
    rotated = {f"{n} rotated": scene(n).rotate(4, fillcolor=(128, 128, 128)) for n in range(3)}
    images = {f"a/{n}.png": scene(n) for n in range(3)}
    images |= {f"b/{name}.png": image for name, image in rotated.items()}
    images |= {"a/0 again.png": scene(0).resize((120, 90))}
    items = write(tmp_path, images)
    verified: list[set[str]] = []

    def verify(pairs: Sequence[tuple[Item, Item]]) -> list[bool]:
        verified.extend({first.path.stem, second.path.stem} for first, second in pairs)
        return ["1" in first.path.stem for first, _ in pairs]

    clusters = cluster_duplicates(items, verify_pairs=verify).clusters
    assert {"1", "1 rotated"} in verified
    assert {"0", "0 again"} not in verified
    together = [{items[i].path.stem for i in c.members} for c in clusters]
    assert sorted(together, key=len) == sorted([{"0", "0 again"}, {"1", "1 rotated"}], key=len)


def test_images_without_contrast_are_not_duplicates(tmp_path: Path) -> None:
    images = {f"a/{n}.png": Image.new("RGB", (80, 80), (n, 9, 9)) for n in range(0, 200, 40)}
    items = write(tmp_path, images | {"b/0.jpg": scene(0)})
    assert not names(items)
    assert [item.perceptual_hash is None for item in items] == [True] * 5 + [False]


def test_pairs_across_blocks_are_found() -> None:
    rng = np.random.default_rng(0)
    hashes = [int.from_bytes(rng.bytes(31), "big") << 1 for _ in range(4200)]
    planted = [(3, 17), (5, 4000), (2047, 2048), (2100, 4199)]
    for first, second in planted:
        hashes[second] = hashes[first] ^ sum(1 << int(bit) for bit in rng.choice(255, 80, False))
    found = np.concatenate(
        [near.pairs for near in near_pairs(pack_hashes(hashes), near=80, nearest=10)]
    )
    assert {tuple(pair) for pair in found.tolist()} == set(planted)
    packed = pack_hashes(hashes)
    assert all(distance(packed[a], packed[b]) == 80 for a, b in planted)


def test_of_too_many_images_those_of_the_same_region_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    pictures = {
        Path(f"{n:05d}"): np.asarray(scene(n).convert("L").resize((64, 64))) for n in range(60)
    }
    pictures |= {
        Path(f"{n:05d} again"): np.clip(
            pictures[Path(f"{n:05d}")] + rng.normal(0, 2, (64, 64)), 0, 255
        )
        for n in range(60)
    }
    items = items_of(pictures)

    def search() -> find_duplicates.DuplicateClusters:
        return cluster_duplicates(
            items, load_thumbnail=lambda path: image_match.GreyThumbnail.from_grey(pictures[path])
        )

    everything = search()
    assert len(everything.clusters) == 60
    assert not [*everything.describe_not_compared()]
    monkeypatch.setattr(hash_regions, "ALL_PAIRS", 100)
    monkeypatch.setattr(hash_regions, "_COMPARED", 0)
    by_region = search()
    assert set(by_region.clusters) <= set(everything.clusters)
    assert len(by_region.clusters) >= 50
    assert by_region.hashes_not_compared > 1000
    ((sentence, _),) = by_region.describe_not_compared()
    assert sentence.startswith(
        f"{by_region.hashes_not_compared:,} pairs of images were not compared"
    )


def aligned(count: int) -> dict[Path, np.ndarray]:
    """Return grey images with a shared layout and different details, like X-rays: [64, 64] each."""
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 256, (n, side, side)) for n, side in ((1, 12), (count, 24))]
    layout, *own = (
        np.asarray(Image.fromarray(part.astype(np.uint8)).resize((64, 64)), np.float32)
        for group in parts
        for part in group
    )
    noise = rng.normal(0, 10, (count, 64, 64)).astype(np.float32)
    pictures = np.clip(0.8 * layout + 0.2 * np.stack(own) + noise, 0, 255)
    return {Path(f"{number:05d}"): picture for number, picture in enumerate(pictures)}


def items_of(pictures: dict[Path, np.ndarray]) -> list[Item]:
    """Return items of images that are not in files."""
    greys = np.stack(list(pictures.values()))
    small = greys.reshape(-1, 32, 2, 32, 2).mean((2, 4))
    hashes = perceptual_hash.perceptual_hashes(np.repeat(small[..., np.newaxis], 3, axis=-1))
    return [
        Item(
            path,
            "a",
            sha256=hashlib.sha256(str(path).encode()).hexdigest(),
            width=64,
            height=64,
            perceptual_hash=value,
        )
        for path, value in zip(pictures, hashes, strict=True)
    ]


def cropped(picture: np.ndarray, edge: int) -> np.ndarray:
    """Return an image [64, 64] cropped by ``edge`` / 160 per side."""
    large = Image.fromarray(picture).resize((160, 160), Image.Resampling.BICUBIC)
    small = large.crop((edge, edge, 160 - edge, 160 - edge)).resize((64, 64), Image.Resampling.BOX)
    return np.round(np.asarray(small))


def test_the_search_among_aligned_images_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = aligned(2000)
    items = items_of(pictures)
    near = list(near_pairs(ItemColumns(items).hashes()[1], near=80, nearest=10))
    assert sum(each.not_compared for each in near) > 1_000_000
    compared: list[int] = []
    progress: list[tuple[int, int]] = []
    loaded: list[Path] = []

    def different(*_: object) -> bool:
        compared.append(1)
        return False

    def load_thumbnail(path: Path) -> image_match.GreyThumbnail:
        loaded.append(path)
        return image_match.GreyThumbnail.from_grey(pictures[path])

    monkeypatch.setattr(image_match, "is_same_image", different)
    duplicates = cluster_duplicates(
        items, load_thumbnail=load_thumbnail, progress=lambda *now: progress.append(now)
    )
    assert duplicates.clusters == ()
    assert duplicates.not_compared == 0  # without the layout, no two hashes are near
    assert len(compared) <= 10 * len(items)
    assert sorted(loaded) == sorted(pictures)  # each file once
    assert len(progress) > 10
    assert all(0 <= done <= 2000 == total for done, total in progress)
    assert progress[-1] == (2000, 2000)


@pytest.mark.thorough
def test_duplicates_among_aligned_images_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_duplicates, "_FEW_COMPARISONS", 0)  # as among many images
    pictures = aligned(150)
    for number in range(12):
        original = pictures[Path(f"{number:05d}")]
        pictures[Path(f"{number:05d} again")] = cropped(original, 1 + number % 3)
    items = items_of(pictures)
    near = list(near_pairs(ItemColumns(items).hashes()[1], near=80, nearest=10))
    assert sum(each.not_compared for each in near) > 5000
    duplicates = cluster_duplicates(
        items, load_thumbnail=lambda path: image_match.GreyThumbnail.from_grey(pictures[path])
    )
    together = [{items[i].path.name for i in cluster.members} for cluster in duplicates.clusters]
    assert together == [{f"{n:05d}", f"{n:05d} again"} for n in range(12)]


def test_frames_of_a_video_are_one_cluster_and_all_are_compared() -> None:
    (scene_of,) = aligned(1).values()
    rng = np.random.default_rng(0)
    frames = {
        Path(f"{number:05d}"): scene_of + rng.normal(0, 2, (64, 64)).astype(np.float32)
        for number in range(600)
    }
    duplicates = cluster_duplicates(
        items_of(frames),
        load_thumbnail=lambda path: image_match.GreyThumbnail.from_grey(frames[path]),
    )
    assert [cluster.members for cluster in duplicates.clusters] == [tuple(range(600))]
    assert duplicates.not_compared == 0


def test_images_that_only_share_a_layout_are_not_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = aligned(150)
    pictures[Path("rotated")] = np.asarray(
        Image.fromarray(pictures[Path("00003")]).rotate(1, Image.Resampling.BICUBIC)
    )
    monkeypatch.setattr(image_match, "is_same_image", lambda *_: False)
    verified: list[set[str]] = []

    def verify(pairs: Sequence[tuple[Item, Item]]) -> list[bool]:
        verified.extend({first.path.name, second.path.name} for first, second in pairs)
        return [False] * len(pairs)

    cluster_duplicates(
        items_of(pictures),
        load_thumbnail=lambda path: image_match.GreyThumbnail.from_grey(pictures[path]),
        verify_pairs=verify,
    )
    assert verified == [{"00003", "rotated"}]


def test_pairs_that_are_not_compared_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hashes = [int(number) << 1 for number in rng.integers(0, 2**40, 60)]  # 40 bits at most
    (near,) = near_pairs(pack_hashes(hashes), near=80, nearest=10)
    assert len(near.pairs) == 50 * 10 + sum(range(10))
    assert near.not_compared == 60 * 59 // 2 - len(near.pairs)
    assert near.crowded.all()
    packed = pack_hashes(hashes)
    apart = [distance(packed[a], packed[b]) for a, b in near.pairs.tolist()]
    assert apart[:10] == sorted(distance(packed[0], other) for other in packed[1:])[:10]

    scenes = list(aligned(12).values())  # of forty frames each
    frames = {
        Path(f"{number:05d}"): scenes[number // 40] + rng.normal(0, 2, (64, 64)).astype(np.float32)
        for number in range(480)
    }
    monkeypatch.setattr(image_match, "is_same_image", lambda *_: False)
    duplicates = cluster_duplicates(
        items_of(frames),
        load_thumbnail=lambda path: image_match.GreyThumbnail.from_grey(frames[path]),
    )
    assert duplicates.not_compared > 0
    ((sentence, _),) = duplicates.describe_not_compared()
    assert sentence.startswith(f"{duplicates.not_compared:,} pairs of similar images")


@pytest.mark.slow
@pytest.mark.parametrize("step", unless_thorough([1, 4], 4))
def test_similar_digits_are_not_duplicates(tmp_path: Path, step: int) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = {
        f"{label}/{n}.png": Image.fromarray(np.round(grey * 255 / 16).astype(np.uint8)).resize(
            (32, 32), Image.Resampling.BICUBIC
        )
        for n, (grey, label) in enumerate(zip(digits.images, digits.target, strict=True))
        if n % step == 0
    }
    clusters = cluster_duplicates(write(tmp_path, images)).clusters
    assert sum(len(cluster.members) for cluster in clusters) < 0.01 * len(images)
    assert max((len(cluster.members) for cluster in clusters), default=0) <= 3


@pytest.mark.photos
def test_different_photos_are_not_duplicates_and_planted_copies_are_found(
    photos_dir: Path, tmp_path: Path
) -> None:
    paths = sorted((photos_dir / "hymenoptera").rglob("*.jp*g"))[:60]
    kinds = list(COPIES.items())
    images = {}
    for n, path in enumerate(paths):
        kind, copy = kinds[n % len(kinds)]
        images[f"a/{n} {kind}.jpg"] = photo = Image.open(path).convert("RGB")
        images[f"b/{n} {kind} copy.jpg"] = copy(photo)
    found = names(write(tmp_path, images))
    assert all(len({name.split()[0] for name in cluster}) == 1 for cluster in found)
    assert len(found) >= 0.95 * len(paths)
