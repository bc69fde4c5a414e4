"""Weights and archives of others: references to other files, and sizes that are not there.

Each file is read as weights or as a source of images, in a process with little memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.attack_kinds.hdf5_files import ATTACKS, LAYOUTS, write_hdf5, write_secrets
from benchmarks.attack_kinds.outcome import Outcome, run_python

KIND = "3 weights and archives"
_ROOM = 1 << 30  # bytes above what the process has after its imports
_PROGRAM = """
import resource, sys
from pathlib import Path
import h5py, numpy, safetensors
import tltool.data.sources.open, tltool.weights.weights_formats as formats
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from tltool.errors import DataError, UsageError
try:
    if sys.argv[2] == "weights":
        layers = formats.read_layers(Path(sys.argv[3]))
        text = "".join(str(array.ravel()[:8]) for arrays in layers.values() for array in arrays)
        sys.exit("read: " + text)
    tltool.data.sources.open.read_images(sys.argv[3])
    sys.exit("read")
except (DataError, UsageError) as error:
    print("refused:", error)
"""


def attacks(folder: Path) -> Iterator[Outcome]:
    """Read each malicious file in a process of its own."""
    files = [*_hdf5_files(folder), *_safetensors_files(folder), *_other_weights(folder)]
    for name, path in files:
        yield _read("weights", name, path)
    for name, path in _archives(folder):
        yield _read("data", name, path)


def _read(what: str, name: str, path: Path) -> Outcome:
    ended = run_python(["-c", _PROGRAM, str(_ROOM), what, str(path)], seconds=60)
    refused = ended.code == 0 and "refused:" in ended.output
    return Outcome(KIND, name, refused and "Traceback" not in ended.output, ended.figure)


def _hdf5_files(folder: Path) -> Iterator[tuple[str, Path]]:
    write_secrets(folder)
    for attack in ATTACKS:
        for layout in LAYOUTS:
            name = attack.__name__.replace("_", " ")
            yield f"HDF5 {name} in {layout}", write_hdf5(attack, folder, layout)


def _safetensors_files(folder: Path) -> Iterator[tuple[str, Path]]:
    def entry(begin: int, end: int, *shape: int) -> dict[str, object]:
        return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}

    size = 1 << 22
    headers = {
        "overlapping": {str(n): entry(0, size, size // 4) for n in range(2000)},
        "beyond the end": {"w": entry(0, 1 << 42, 1 << 40)},
        "a larger shape": {"w": entry(0, size, 1 << 40)},
        "an overflowing shape": {"w": entry(0, size, 1 << 62, 1 << 62)},
        "a negative offset": {"w": entry(-8, size - 8, size // 4)},
        "data without a tensor": {"w": entry(0, 16, 4)},
    }
    for name, header in headers.items():
        text = json.dumps(header).encode()
        path = folder / f"{name}.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
        yield f"safetensors {name}", path
    path = folder / "header.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}" + bytes(100))
    yield "safetensors header of an exabyte", path


class _Code:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return print, ("run: code of a pickle",)


def _other_weights(folder: Path) -> Iterator[tuple[str, Path]]:
    bomb = folder / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(2 << 30))
    yield "zip bomb as .keras", bomb
    torch = folder / "bomb.pth"
    with zipfile.ZipFile(torch, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("archive/data/0", bytes(1 << 30))
    yield "zip bomb as .pth", torch
    code = folder / "code.pth"
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": _Code()}, protocol=2))
    yield "pickle with code", code
    old = folder / "old.pth"
    old.write_bytes(pickle.dumps(_Code(), protocol=2))
    yield "pickle with code, no archive", old
    for name, content in {
        "ONNX length beyond the end": b"\x08\x08\x3a\xff\xff\xff\xff\x0f",
        "ONNX external data": b"\x08\x08\x3a\x09\x2a\x07\x10\x01\x42\x01w\x6a\x00",
        "ONNX endless varint": b"\x08" + b"\xff" * 100,
    }.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(content)
        yield name, path


def _archives(folder: Path) -> Iterator[tuple[str, Path]]:
    bomb = folder / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(1 << 30))
    yield "zip bomb", bomb
    for name, compress in (("gz", gzip.compress), ("bz2", bz2.compress)):
        path = folder / f"bomb.tar.{name}"
        path.write_bytes(compress(_tar({"a/1.png": bytes(1 << 29)})))
        yield f"tar.{name} bomb", path
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 256 << 20
    pax = folder / "pax.tar.gz"
    pax.write_bytes(gzip.compress(header.tobuf() + bytes(256 << 20)))
    yield "PAX header of 256 MB", pax
    longname = tarfile.TarInfo("x")
    longname.type, longname.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    path = folder / "long.tar"
    path.write_bytes(longname.tobuf() + bytes(1024))
    yield "GNU long name of a terabyte", path
    path = folder / "outside.tar"
    path.write_bytes(_tar({"../outside.png": b"x", "a/1.png": b"x"}))
    yield "tar with a path outside", path
    path = folder / "absolute.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("/tmp-outside.png", b"x")
    yield "zip with an absolute path", path
    path = folder / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(25_000):
            archive.writestr(f"a/{number}.png", b"")
    yield "zip with 25,000 empty files", path
    path = folder / "deep.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/" * 2000 + "1.png", b"x")
    yield "zip with 2,000 nested folders", path


def _tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()
