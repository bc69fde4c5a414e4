"""HEIC images: read with pillow-heif, and named with the mend without it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tests.data.samples import see_through, tiles
from tltool.data.audit.inspect_file import image_decoder, inspect_file
from tltool.data.catalog import Item
from tltool.data.decoding import heif
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.decoding.transcode import decodes_as_stored, read_image_bytes
from tltool.data.sources.folders.folder import list_images


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=-1, **options)
    return buffer.getvalue()


def shown(path: Path) -> np.ndarray:
    with Image.open(io.BytesIO(read_image_bytes(path))) as image:
        return np.asarray(image).astype(int)


def test_a_heic_photo_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "plain.heic").write_bytes(heic(tiles()))
    (tmp_path / "turned.heic").write_bytes(heic(tiles(), exif=exif.tobytes()))
    plain = shown(tmp_path / "plain.heic")
    assert np.abs(plain - np.asarray(tiles()).astype(int)).mean() < 4
    np.testing.assert_array_equal(shown(tmp_path / "turned.heic"), np.rot90(plain, -1))


def test_a_heic_photo_is_audited_with_its_transparency_and_pages(tmp_path: Path) -> None:
    path = tmp_path / "x.heic"
    path.write_bytes(heic(see_through(tiles())))
    found = inspect_file(Item(path, "a"), max_pixels=10**6, decode=image_decoder())
    assert (found.item.format, found.item.width, found.item.height) == ("heif", 80, 60)
    assert found.header.transparent
    assert not found.warnings
    burst = pillow_heif.from_pillow(tiles())
    burst.add_from_pillow(tiles(seed=1))
    burst.save(path)
    found = inspect_file(Item(path, "a"), max_pixels=10**6, decode=image_decoder())
    assert [warning.kind for warning in found.warnings] == ["several pages"]


def test_a_truncated_heic_photo_is_damaged(tmp_path: Path) -> None:
    whole = heic(tiles())
    path = tmp_path / "x.heic"
    for tenth in range(1, 10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        with pytest.raises(BadFileError) as bad:
            inspect_file(Item(path, "a"), max_pixels=10**6, decode=image_decoder())
        assert bad.value.kind == "damaged", tenth


def test_without_pillow_heif_the_mend_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heif, "register", lambda: False)
    path = tmp_path / "x.heic"
    path.write_bytes(heic(tiles()))
    assert not decodes_as_stored(path.read_bytes())
    assert [item.path for item in list_images(tmp_path).items] == [path]
    with pytest.raises(BadFileError) as bad:
        inspect_file(Item(path, "a"), max_pixels=10**6, decode=image_decoder())
    assert bad.value.kind == "unsupported"
    assert "HEIC" in bad.value.detail
    assert "pip install pillow-heif" in bad.value.mend
    assert "JPEG" in bad.value.mend


def test_without_avif_in_pillow_the_mend_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heif, "can_open_avif", lambda: False)
    monkeypatch.setattr(heif, "register", lambda: False)
    path = tmp_path / "x.avif"
    tiles().save(path)
    with pytest.raises(BadFileError) as bad:
        inspect_file(Item(path, "a"), max_pixels=10**6, decode=image_decoder())
    assert bad.value.kind == "unsupported"
    assert "AVIF" in bad.value.detail
    assert "pip install --upgrade pillow" in bad.value.mend
