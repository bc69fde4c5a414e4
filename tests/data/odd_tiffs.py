"""Odd but intact TIFF files, generated, with the pixels that they hold."""

from __future__ import annotations

import io

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.data.odd_images import Odd, Pixels, grey
from tests.data.samples import tiles


def write_tiff(levels: NDArray[np.number], **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, levels, metadata=None, **options)
    return buffer.getvalue()


def tiff(
    bits: int,
    colours: str,
    channels: int,
    *,
    separate: bool,
    pixels: Pixels | None,
    **options: object,
) -> Odd:
    """Return a TIFF of random levels of ``bits`` per channel.

    Args:
        bits: 8 or 16.
        colours: photometric interpretation as tifffile names it.
        channels: number of channels.
        separate: whether channels are stored one after the other.
        pixels: None if the file is unsupported; else ignored.
        options: of tifffile.imwrite.
    """
    rng = np.random.default_rng(bits + channels)
    shape = (24, 40, channels) if channels > 1 else (24, 40)
    levels = rng.integers(0, 2**bits, shape).astype(f"u{bits // 8}")
    stored = levels.transpose(2, 0, 1) if separate else levels
    planes = {} if channels == 1 else {"planarconfig": "separate" if separate else "contig"}
    data = write_tiff(stored, photometric=colours, **planes, **options)
    name = f"tiff {bits} {colours} {channels}{' planes' * separate} {options}"
    shown = None if pixels is None else _shown(levels, 2**bits - 1, colours, options)
    return Odd(name, data, shown, 3 if channels == 4 else 1)


def _shown(
    levels: NDArray[np.number], top: int, colours: str, options: dict[str, object]
) -> Pixels:
    scaled = levels.astype(np.float64).reshape(*levels.shape[:2], -1) / top * 255
    if colours == "separated":
        return (255 - scaled[..., :3]) * (255 - scaled[..., 3:4]) / 255
    if colours == "miniswhite":
        scaled[..., 0] = 255 - scaled[..., 0]
    used = 3 if colours == "rgb" else 1
    shown = np.broadcast_to(scaled[..., :used], (*scaled.shape[:2], 3))
    if options.get("extrasamples") == ["assocalpha"]:
        return shown + 255 - scaled[..., used:]
    if options.get("extrasamples") == ["unassalpha"]:
        alpha = scaled[..., used : used + 1] / 255
        shown = shown * alpha + 255 * (1 - alpha)
    return shown


_HERE = np.zeros(())  # "the pixels are defined"
_RAW: dict[str, object] = {}
_PACKED: dict[str, object] = {"compression": "lzw"}
_TILED: dict[str, object] = {"tile": (16, 16)}
_ALPHA: dict[str, object] = {"extrasamples": ["unassalpha"]}
_OTHER: dict[str, object] = {"extrasamples": ["unspecified"]}


def tiffs() -> list[Odd]:
    """Return TIFF files of every layout of channels, bits, byte order and compression."""
    found = []
    for order in "<>":
        one = {"byteorder": order}
        for bits in (8, 16):
            for extra in (_RAW, _PACKED, _TILED):
                for colours in ("miniswhite", "minisblack"):
                    found.append(
                        tiff(bits, colours, 1, separate=False, pixels=_HERE, **one, **extra)
                    )
                found += [
                    tiff(bits, name, count, separate=False, pixels=_HERE, **one, **extra, **more)
                    for name, count, more in (
                        ("rgb", 3, {}),
                        ("rgb", 4, _ALPHA),
                        ("rgb", 4, _OTHER),
                        ("separated", 4, {}),
                    )
                ]
            for extra in (_RAW, _PACKED):
                found += [
                    tiff(bits, name, count, separate=True, pixels=_HERE, **one, **extra, **more)
                    for name, count, more in (
                        ("rgb", 3, {}),
                        ("rgb", 4, _ALPHA),
                        ("rgb", 4, _OTHER),
                        ("separated", 4, {}),
                    )
                ]
    return found


def premultiplied() -> list[Odd]:
    """Return TIFF files whose colours are multiplied by their alpha."""
    found = []
    for bits in (8, 16):
        for colours, channels in (("minisblack", 1), ("rgb", 3)):
            rng, top = np.random.default_rng(bits), 2**bits - 1
            alpha = rng.integers(1, top + 1, (24, 40, 1))
            colour = rng.integers(0, top + 1, (24, 40, channels)) * alpha // top
            levels = np.concatenate([colour, alpha], -1).astype(f"u{bits // 8}")
            options: dict[str, object] = {"extrasamples": ["assocalpha"]}
            shown = _shown(levels, top, colours, options)
            for separate in (False, True):
                planes = levels.transpose(2, 0, 1) if separate else levels
                order = "separate" if separate else "contig"
                data = write_tiff(planes, photometric=colours, planarconfig=order, **options)
                rare = bits == 16 and channels == 1 and not separate
                name = f"tiff {bits} {colours} {order} premultiplied"
                found.append(Odd(name, data, None if rare else shown, 4))
    return found


def few_bits() -> list[Odd]:
    """Return grey TIFF files of 2, 4 and 12 bits, which are to be scaled to the full range."""
    found = []
    for bits in (2, 4, 12):
        kind = "u1" if bits <= 8 else "u2"
        levels = np.random.default_rng(bits).integers(0, 2**bits, (24, 40)).astype(kind)
        for colours in ("minisblack", "miniswhite"):
            data = write_tiff(levels, photometric=colours, bitspersample=bits)
            shown = levels if colours == "minisblack" else 2**bits - 1 - levels.astype(int)
            found.append(Odd(f"tiff {bits} {colours}", data, grey(shown, 2**bits - 1)))
    return found


def turned_planes() -> Odd:
    """Return a TIFF of 16-bit planes with an orientation tag."""
    image = np.asarray(tiles(40, 20))
    planes = image.astype(np.uint16).transpose(2, 0, 1) * 257
    options = {"photometric": "rgb", "planarconfig": "separate"}
    data = write_tiff(planes, **options, extratags=[(274, 3, 1, 6, True)])
    return Odd("tiff turned planes", data, np.rot90(image, -1).astype(np.float64))


def lab_tiff() -> Odd:
    """Return a CIE L*a*b* TIFF: a grey ramp above, and colours below."""
    levels = np.zeros((8, 40, 3), np.uint8)
    levels[..., 0] = np.linspace(0, 255, 40)
    levels[4:, :, 1], levels[4:, :, 2] = 40, 256 - 30  # a* 40, b* -30: magenta
    lightness, a, b = np.moveaxis(levels.astype(np.float64), -1, 0)
    return Odd(
        "tiff lab", write_tiff(levels, photometric="cielab"), _srgb(lightness / 2.55, a, b), 4
    )


def _srgb(lightness: Pixels, a: Pixels, b: Pixels) -> Pixels:
    """Convert CIE L*a*b* of D50 to sRGB, with Lindbloom's matrix for that white."""
    a, b = (np.where(each > 127, each - 256, each) for each in (a, b))
    y = (lightness + 16) / 116
    cubes = np.stack([y + a / 500, y, y - b / 200], -1)
    xyz = np.where(cubes > 6 / 29, cubes**3, (cubes - 4 / 29) * 108 / 841)
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.clip(xyz * [0.96422, 1, 0.82521] @ np.transpose(matrix), 0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
