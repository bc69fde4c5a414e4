"""Corrupted files, for which Pillow's parsers raise errors of every kind, are reported as bad."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.odd_tiffs import few_bits, turned_planes
from tests.data.samples import SAMPLES, other_formats
from tltool.data.decoding.header import read_header
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.decoding.transcode import transcode
from tltool.data.duplicates.image_match import load_thumbnail
from tltool.errors import DataError
from tltool.evaluation.report.thumbnails import thumbnail


def damaged(data: st.DataObject, whole: bytes) -> bytes:
    """Change a few bytes, most of them near the start, and perhaps cut the end off."""
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(content) - 1, 400)))
        content[place] = data.draw(st.integers(0, 255))
    return bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])


def with_exif() -> bytes:
    """Return a JPEG that is to be turned, with a maker and a resolution in its EXIF block."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    exif[0x8769] = {0x9000: b"0232", 0x927C: b"note" * 4}
    buffer = io.BytesIO()
    Image.effect_noise((90, 70), 60).convert("RGB").save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def saved_as(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


WHOLE = {
    "gif animated": SAMPLES["gif animated"](),
    "jpeg with EXIF": with_exif(),
    "tiff planes": turned_planes().data,
    "tiff white is zero": few_bits()[-1].data,
    **{kind.lower(): saved_as(kind) for kind in ("AVIF", "TIFF", "JPEG2000", "ICO")},
    **{name: other_formats()[name] for name in ("tiff_lzw.tif", "a.j2k", "a.ppm", "one bit.bmp")},
    **{name: SAMPLES[name]() for name in ("png", "webp animated alpha", "bmp palette")},
}


@pytest.mark.parametrize("name", WHOLE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_corruption_is_reported_as_bad_file(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = damaged(data, WHOLE[name])
    path = tmp_path / "photo"
    path.write_bytes(content)
    with suppress(BadFileError):
        header = read_header(io.BytesIO(content), 10**6)
        assert header.width * header.height <= 10**6
    with suppress(DataError):
        assert transcode(content, name="photo").startswith(b"\x89PNG")
    load_thumbnail(path)
    thumbnail(path, 64)
