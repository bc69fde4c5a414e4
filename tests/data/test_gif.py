"""The first frame of a GIF, and truncated GIF files."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.samples import SAMPLES
from tltool.data.decoding.decode import decode_image
from tltool.data.decoding.gif import first_frame, is_truncated

GIFS = [name for name in SAMPLES if name.startswith("gif")]


def frames(count: int, *, side: int = 64) -> bytes:
    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)
    ]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("name", GIFS)
def test_the_first_frame_is_decoded_like_the_whole_file(name: str) -> None:
    data = SAMPLES[name]()
    whole, cut = (decode_image(tf.constant(one)).numpy() for one in (data, first_frame(data)))
    np.testing.assert_array_equal(cut, whole)


def test_later_frames_are_removed() -> None:
    data = frames(20)
    cut = first_frame(data)
    assert len(cut) < len(data) / 15
    with Image.open(io.BytesIO(cut)) as image:
        assert getattr(image, "n_frames", 1) == 1


def test_other_formats_are_unchanged() -> None:
    assert first_frame(SAMPLES["png"]()) == SAMPLES["png"]()
    assert first_frame(b"") == b""


@given(st.data())
def test_any_bytes_are_accepted(data: st.DataObject) -> None:
    whole = frames(2, side=8)
    start = data.draw(st.integers(0, len(whole)))
    spoiled = whole[:start] + data.draw(st.binary(max_size=40))
    assert len(first_frame(spoiled)) <= len(spoiled) + 1


@pytest.mark.parametrize("name", GIFS)
def test_a_gif_that_ends_inside_a_block_is_truncated(name: str) -> None:
    whole = SAMPLES[name]()
    assert not is_truncated(whole)
    assert not is_truncated(whole[:-1])  # some programs write no trailer
    assert not is_truncated(whole + bytes(100))
    assert not is_truncated(first_frame(whole))
    ends = [end for end in range(1, len(whole) - 1) if not is_truncated(whole[:end])]
    assert len(ends) <= 20  # those between two blocks
