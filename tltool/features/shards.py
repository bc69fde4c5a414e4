"""Shards: the features of some batches of a pass in one file, written once by any process.

A file has eight bytes that name its format, the length and the SHA-256 of a header, the header
(JSON: dtype, shape, place and SHA-256 of every column) and the columns, each from a multiple of 64
bytes on. It appears whole under its name, and no file is ever replaced: of two processes that make
the same shard, the first one wins.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from tltool.storage.durable import flush, publish_new, unfinished_name

MAGIC = b"TLSHARD2"
_START = struct.Struct("<8sQ32s")  # magic, length and SHA-256 of the header
_ALIGNMENT = 64
_DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
_MOST_BATCHES = 8  # a worker that is killed loses at most these
_PIECES = 64  # a pass has at least so many shards, where it has the batches

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ShardPlan:
    """How a pass is divided into shards: a function of its length and its batches alone.

    Attributes:
        count: number of rows of the pass.
        batch_size: rows per batch; shards begin where batches do.
    """

    count: int
    batch_size: int

    @property
    def rows(self) -> int:
        """Rows of every shard but the last."""
        batches = -(-self.count // self.batch_size)
        return self.batch_size * max(1, min(_MOST_BATCHES, batches // _PIECES))

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // self.rows)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first row of a shard, and the row behind its last."""
        return number * self.rows, min((number + 1) * self.rows, self.count)

    def name(self, number: int) -> str:
        """Return the file name of a shard."""
        return f"{number:06d}-of-{self.shards:06d}.shard"


def pack(columns: Columns) -> bytes:
    """Return the content of a shard file; equal columns give equal bytes."""
    arrays = {name: np.ascontiguousarray(values) for name, values in columns.items()}
    blocks, described, place = list[bytes](), {}, 0
    for name, values in arrays.items():
        data = values.reshape(-1).view(np.uint8).tobytes()
        described[name] = {
            "dtype": values.dtype.name,
            "shape": list(values.shape),
            "offset": place,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        blocks.append(data + bytes(-len(data) % _ALIGNMENT))
        place += len(blocks[-1])
    header = json.dumps(described).encode()
    header += b" " * (-(_START.size + len(header)) % _ALIGNMENT)
    start = _START.pack(MAGIC, len(header), hashlib.sha256(header).digest())
    return b"".join([start, header, *blocks])


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """Return the columns of a shard file, read-only.

    Raises:
        ValueError: it is damaged, cut off, or something else.
    """
    if len(data) < _START.size or not data.startswith(MAGIC):
        raise ValueError("it is no shard of features")
    _, length, digest = _START.unpack_from(data)
    end = _START.size + length
    header = data[_START.size : end]
    if hashlib.sha256(header).digest() != digest:
        raise ValueError("its header is damaged")
    return {name: _column(data, end, **column) for name, column in json.loads(header).items()}


def _column(
    data: bytes, start: int, *, dtype: str, shape: list[int], offset: int, sha256: str
) -> np.ndarray:
    kind = _DTYPES.get(dtype) or np.dtype(dtype)
    begin, size = start + offset, int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    block = memoryview(data)[begin : begin + size]
    if len(block) != size or hashlib.sha256(block).hexdigest() != sha256:
        raise ValueError("its checksum does not match")
    return np.frombuffer(block, kind).reshape(shape)


def commit(folder: Path, name: str, columns: Columns) -> bool:
    """Write a shard; return whether this call made it.

    Args:
        folder: of the pass; it must exist.
        name: of the shard.
        columns: its arrays, with the same number of rows.

    Raises:
        OSError: it cannot be written; nothing is left under its name.
    """
    target = folder / name
    part = unfinished_name(target)
    try:
        part.write_bytes(pack(columns))
        flush(part)
        publish_new(part, target)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    flush(folder)
    return True


def read_shard(path: Path) -> dict[str, np.ndarray] | None:
    """Return the columns of a shard; None if it is missing or damaged.

    A damaged one is removed, so that it can be made again.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return unpack(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        path.unlink(missing_ok=True)
        return None
