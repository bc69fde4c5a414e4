"""A truncated file of any format is reported as damaged, never as unsupported."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.samples import encode, good_files, other_formats, tiles
from tltool.data.audit.inspect_file import DecodedFacts, inspect_file
from tltool.data.catalog import Item
from tltool.data.decoding.image_errors import BadFileError, DamagedError
from tltool.data.decoding.transcode import decodes_as_stored, read_image_bytes
from tltool.errors import DataError

# the formats of the decoder are tested in tests/cli/test_data_check.py
CONVERTED = {
    name: data
    for name, data in (good_files() | other_formats()).items()
    if not decodes_as_stored(data)
}


def no_decoder(data: bytes) -> DecodedFacts:
    """Replace the decoder: its input was complete enough to become a PNG."""
    height, width, _ = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).shape
    return DecodedFacts(height, width, 1, np.zeros((32, 32, 3), np.float32), 0.0, (0, 255))


@pytest.mark.parametrize("name", CONVERTED)
def test_a_truncated_file_that_is_transcoded_is_damaged(tmp_path: Path, name: str) -> None:
    data, path = CONVERTED[name], tmp_path / name
    path.write_bytes(data)
    assert inspect_file(Item(path, "a"), max_pixels=10**6, decode=no_decoder).item.width > 0
    for tenth in range(1, 10):
        path.write_bytes(data[: len(data) * tenth // 10])
        with pytest.raises(BadFileError) as found:
            inspect_file(Item(path, "a"), max_pixels=10**6, decode=no_decoder)
        assert found.value.kind == "damaged", f"{tenth} tenths: {found.value.detail}"
        with pytest.raises(DamagedError, match="damaged or truncated"):
            read_image_bytes(path)


def test_pixels_without_a_defined_range_are_unsupported_and_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    path.write_bytes(encode(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"))
    with pytest.raises(BadFileError, match="unsupported"):
        inspect_file(Item(path, "a"), max_pixels=10**6, decode=no_decoder)


@pytest.mark.parametrize("text", [b"P7 or not", b"II to III", b"{}", b"<note/>"])
def test_text_that_starts_like_an_image_is_not_an_image(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(text * 9)
    with pytest.raises(BadFileError, match="not an image"):
        inspect_file(Item(tmp_path / "x.jpg", "a"), max_pixels=10**6, decode=no_decoder)
    with pytest.raises(DataError, match="is not an image"):
        read_image_bytes(tmp_path / "x.jpg")


def test_pillow_prints_nothing(tmp_path: Path) -> None:
    data = encode(tiles().quantize(16), "TIFF")
    (tmp_path / "x.tif").write_bytes(data[: len(data) // 10])  # Pillow warns of tags after the end
    program = (
        "import pathlib, sys\n"
        "from tltool.data.decoding.image_errors import DamagedError\n"
        "from tltool.data.decoding.transcode import read_image_bytes\n"
        "try: read_image_bytes(pathlib.Path(sys.argv[1]))\n"
        "except DamagedError: print('damaged')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.tif")], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"damaged\n", b"")
