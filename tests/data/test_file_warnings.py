"""Images that are used, but of which the model may see something else than the user."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.odd_tiffs import write_tiff
from tests.data.samples import encode, noise, tiles
from tltool.data.audit.audit import Audit, audit
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Item
from tltool.data.checks.scan_files import scan_files
from tltool.data.decoding.native_messages import JpegWarnings
from tltool.data.decoding.tiff import count_pages
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.open import read_source
from tltool.events import SilentObserver


class Listener(SilentObserver):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.messages.append(f"{level}: {text}")


def warnings_of(data: bytes, path: Path) -> dict[str, str]:
    path.write_bytes(data)
    inspected = inspect_file(Item(path, "a"), max_pixels=10**7, decode=image_decoder())
    return {warning.kind: warning.detail for warning in inspected.warnings}


def deep(top: int) -> bytes:
    levels = np.linspace(0, top, 48 * 48).reshape(48, 48).astype(np.uint16)
    return encode(Image.fromarray(levels), "PNG")


def pages(number: int) -> bytes:
    return encode(tiles(), "TIFF", save_all=True, append_images=[tiles()] * (number - 1))


def flat(level: int, spread: int = 0) -> bytes:
    levels = np.full((40, 40), level, np.uint8)
    levels[:20] += spread
    return encode(Image.fromarray(levels), "PNG")


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (deep(4095), {"almost black"}),  # CT and microscopes: 12 bits
        (deep(1023), {"almost black"}),
        (deep(16383), {"almost black"}),
        (deep(65535), set()),
        (flat(0, 1), {"almost black"}),  # a mask of two classes
        (flat(0, 255), set()),
        (flat(0, 40), set()),
        (flat(200), {"no contrast"}),
        (flat(200, 30), set()),
        (
            encode(tiles(), "TIFF", save_all=True, append_images=[tiles(), tiles()]),
            {"several pages"},
        ),
        (encode(tiles(), "TIFF"), set()),
        (encode(tiles(), "PNG", save_all=True, append_images=[tiles(seed=1)]), {"animated"}),
        (encode(tiles(), "MPO", save_all=True, append_images=[tiles(seed=1)]), set()),
    ],
)
def test_unusual_content_is_a_warning(data: bytes, kinds: set[str], tmp_path: Path) -> None:
    found = warnings_of(data, tmp_path / "x")
    assert set(found) - {"wrong extension"} == kinds


def test_a_hot_pixel_does_not_hide_an_almost_black_image(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 4096, (200, 200)).astype(np.uint16)
    levels[7, 9] = 65535
    assert "almost black" in warnings_of(encode(Image.fromarray(levels), "PNG"), tmp_path / "x.png")


def test_channels_that_are_not_used_are_counted(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (40, 40, 5)).astype(np.uint8)
    options = {"photometric": "rgb", "extrasamples": ["unspecified"] * 2}
    found = warnings_of(write_tiff(levels, **options), tmp_path / "x.tif")
    assert found == {"unused channels": "only 3 of 5 channels are used"}
    assert not warnings_of(write_tiff(levels[..., :3], photometric="rgb"), tmp_path / "y.tif")


def test_pages_are_counted_without_reduced_copies_and_in_imagej_stacks() -> None:
    def count(data: bytes) -> int:
        return count_pages(io.BytesIO(data))

    three = pages(3)
    assert count(three) == 3
    reduced = encode(tiles(), "TIFF", save_all=True, append_images=[tiles()], tiffinfo={254: 1})
    assert count(reduced) == 1
    stack = write_tiff(np.zeros((9, 9), np.uint8), description="ImageJ=1.54f\nimages=7\nslices=7\n")
    assert count(stack) == 7
    assert count(three[:40]) == 1
    assert count(b"II*\0\x08\0\0\0" + b"\1\0" + bytes(12) + b"\x08\0\0\0") == 1  # a loop


def jpeg() -> bytes:
    return encode(noise().resize((160, 120)), "JPEG", quality=92)


def hole(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes(len(data) - half - 2) + data[-2:]


BROKEN = {
    "a hole": hole,
    "cut and filled up": lambda data: data[: len(data) // 2] + b"\xff\xd9",
    "bytes lost": lambda data: data[: len(data) // 2] + data[len(data) // 2 + 900 :],
    "bytes added": lambda data: data[:-2] + b"other data" * 9 + data[-2:],
}


def folder(root: Path) -> Path:
    """Write 150 intact JPEG files, the broken ones among them, and files of other formats."""
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        for number in range(75):
            image = tiles(40, 40, seed=number + 100 * (label == "bee"))
            (root / label / f"{number:02}.jpg").write_bytes(encode(image, "JPEG"))
    for number, (name, damage) in enumerate(BROKEN.items()):
        (root / "ant" / f"{number}0 {name}.jpg").write_bytes(damage(jpeg()))
    (root / "bee" / "half.jpg").write_bytes(jpeg()[:2000])
    (root / "bee" / "x.png").write_bytes(encode(tiles(), "PNG"))
    return root


def names(paths: list[Path]) -> set[str]:
    return {path.stem.partition(" ")[2] for path in paths}


def audited(root: Path, observer: SilentObserver) -> Audit:
    return audit(
        read_source(root),
        on_bad="skip",
        max_bad_fraction=0.5,
        max_pixels=10**7,
        observer=observer,
    )


def test_a_jpeg_that_is_broken_inside_is_reported_by_audit_and_check(tmp_path: Path) -> None:
    root, listener = folder(tmp_path / "photos"), Listener()
    issues = [each for each in audited(root, listener).issues if each.kind == "broken inside"]
    assert names([each.path for each in issues]) == set(BROKEN)
    assert not any(issue.bad for issue in issues)
    (line,) = [text for text in listener.messages if "broken inside" in text]
    assert line.startswith("warning: broken inside: 4 images, such as ant/")
    assert "Corrupt JPEG data" in line
    assert "intact copy" in line
    scan = scan_files(
        ItemColumns(read_source(root).items),
        max_pixels=10**7,
        image_size=16,
        observer=SilentObserver(),
    )
    found = [each.path for each in scan.findings if each.kind == "broken inside"]
    assert names([path for path in found if path is not None]) == set(BROKEN)
    assert len(scan.items) == 155


def test_only_warnings_of_libjpeg_are_kept_from_standard_error(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from tltool.data.decoding.native_messages import JpegWarnings\n"
        "with JpegWarnings() as warnings:\n"
        "    os.write(2, b'one\\nCorrupt JPEG data: 7 extraneous bytes before marker 0xd9\\n')\n"
        "    print('two', file=sys.stderr)\n"
        "    print(warnings.take(), warnings.take())\n"
        "    os.write(2, b'three\\n')\n"
        "os.write(2, b'four\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "['Corrupt JPEG data: 7 extraneous bytes before marker 0xd9'] []\n"
    assert done.stderr == "one\ntwo\nthree\nfour\n"


def test_standard_error_is_restored_after_an_error() -> None:
    before = os.fstat(2)
    with pytest.raises(ValueError, match="inside"), JpegWarnings():
        assert os.fstat(2) != before
        raise ValueError("inside")
    assert os.fstat(2) == before
    with JpegWarnings() as again:
        assert again.take() == []
