"""A decoder of .wcz files written from wcz.md alone: slow, obvious, and independent of the package wcodec.

python formats/reference_decoder.py X.wcz [OUT.npz]

It needs numpy, and the package `zstandard` for zstd frames only. bfloat16, float8 and opaque types become unsigned
integers. The other files `reference_*.py` are its parts, from the same source.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from reference_base import Base, added, against, base_of, by_chunk
from reference_coders import CorruptError, FileError, Reader, TruncatedError, UnsupportedError, require, unzstd
from reference_tensor import NAMES, Tensor, read_tensor, width_of

DICTIONARY = Path(__file__).resolve().parent.parent / "wcodec" / "container" / "skeleton-1.dict"
MODEL_LIMIT = 64 * 2**20
KNOWN = 1 | (EXTENTS := 2) | (AGAINST := 4) | (SEVERAL := 8)
FILE, SHARDS = 4, 5


@dataclass
class Record:
    """The record of a tensor in the index (section 2)."""

    twin: int = -1
    crc: int = 0
    sections: list[tuple[int, int]] = field(default_factory=list)
    survivors: int = -1


def relative_error(reader: Reader) -> None:
    require(reader.u(2) < 0x7F80, "relative error is not a number from 0 on")


def header(data: bytes) -> tuple[int, bytes]:
    """Check the header. Returns the required features and the index (section 1)."""
    require(data[:4] == b"\x89WCZ", "not a .wcz file")
    reader = Reader(data)
    reader.take(4)
    version, reserved, features, length, index = (reader.u(n) for n in (1, 1, 2, 8, 4))
    if version > 1:
        raise UnsupportedError(f"version {version}")
    if features & ~KNOWN:
        raise UnsupportedError(f"required feature {(features & ~KNOWN).bit_length() - 1}")
    crc = reader.u(4)
    if len(data) < length:
        raise TruncatedError(f"{len(data)} of {length} bytes")
    require(len(data) == length and 24 + index <= length, "lengths do not add up")
    require(version == 1 and reserved == 0, "header")
    tail = data[length - index :]
    require(crc32(data[:20] + tail) == crc, "checksum of the header and the index")
    return features, tail


def record(reader: Reader, records: list[Record]) -> Record:
    s = reader.varint()
    if s == 0:
        k = reader.varint()
        require(k < len(records) and records[k].twin < 0, "duplicate of a wrong tensor")
        return Record(k)
    out = Record(crc=reader.u(4))
    count = (s + 1) // 2
    if count > reader.left():
        raise TruncatedError("index ends too early")
    out.sections = [(reader.varint(), reader.u(4)) for _ in range(count)]
    if s % 2 == 0:
        relative_error(reader)
        out.survivors = reader.varint()
    return out


def model_section(stored: bytes, coding: int, size: int, features: int) -> Reader:
    require(size <= MODEL_LIMIT, "model section too large")
    if coding > 2:
        raise UnsupportedError(f"coding {coding} of the model section")
    if coding == 0:
        require(len(stored) == size, "length of the model section")
        return Reader(stored)
    require(coding == 1 or features & 1 == 1, "dictionary without its feature")
    return Reader(unzstd(stored, size, DICTIONARY.read_bytes() if coding == 2 else None))


def tensor_row(reader: Reader) -> Tensor:
    try:
        name = reader.take(reader.varint()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptError("name is not UTF-8") from error
    dtype = reader.u(1)
    if dtype >= len(NAMES):
        raise UnsupportedError(f"type {dtype}")
    dimensions = reader.varint()
    require(dimensions <= 32, "dimensions")
    tensor = Tensor(name, dtype, tuple(reader.varint() for _ in range(dimensions)))
    require(math.prod(max(n, 1) for n in tensor.shape) * width_of(dtype) < 2**62, "huge tensor")
    return tensor


def decode_all(data: bytes, base: Base | None = None) -> list[tuple[Tensor, np.ndarray]]:
    """Every tensor of a container, with its row of the tensor table, without the remainder of a file."""
    kind, _, found = take_apart(data, base)
    return [one for one in found if kind != FILE or one[0].name]


def take_apart(data: bytes, base: Base | None = None) -> tuple[int, bytes, list[tuple[Tensor, np.ndarray]]]:
    """The kind of model file, the skeleton, and every row of the tensor table with its values."""
    features, tail = header(data)
    index = Reader(tail)
    kind, coding = index.u(1), index.u(1)
    if kind > SHARDS:
        raise UnsupportedError(f"kind {kind} of model file")
    needed = {FILE: EXTENTS, SHARDS: SEVERAL}.get(kind, 0)
    require(features & ~(1 | AGAINST) == needed, "features and the kind of model file")
    size, stored, crc = index.varint(), index.varint(), index.u(4)
    index.varint()
    relative_error(index)
    records: list[Record] = []
    while index.left():
        records.append(record(index, records))

    lengths = [length for one in records for length, _ in one.sections]
    require(24 + sum(lengths) + stored + len(tail) == len(data), "lengths do not add up")
    body = Reader(data)
    body.take(24)
    sections = [[body.take(length) for length, _ in one.sections] for one in records]
    section = body.take(stored)
    require(crc32(section) == crc, "checksum of the model section")
    model = model_section(section, coding, size, features)
    require(model.varint() == len(records), "number of tensors")
    tensors = [tensor_row(model) for _ in records]
    require(len({tensor.name for tensor in tensors}) == len(tensors), "name given twice")

    ways = against(model, len(records), base) if features & AGAINST else bytes(len(records))

    out: list[np.ndarray] = []
    for one, parts, tensor, way in zip(records, sections, tensors, ways, strict=True):
        if one.twin >= 0:
            twin = tensors[one.twin]
            require((twin.dtype, twin.shape) == (tensor.dtype, tensor.shape), "duplicate of another shape")
            out.append(out[one.twin])
            continue
        checks = zip(one.sections, parts, strict=True)
        require(all(crc32(part) == its for (_, its), part in checks), "checksum of a section")
        require(one.survivors <= math.prod(tensor.shape), f"more weights than {tensor.name} has")
        own = read_tensor(parts, tensor) if way != 1 else by_chunk(parts, tensor, base_of(base, tensor))
        require(crc32(own.tobytes()) == one.crc, f"digest of {tensor.name}")
        out.append(own if way != 2 else added(own, tensor, base_of(base, tensor)))
    return kind, model.take(model.left()), list(zip(tensors, out, strict=True))


def decode(data: bytes, base: Base | None = None) -> dict[str, np.ndarray]:
    """Every tensor of a container, by name."""
    return {tensor.name: values for tensor, values in decode_all(data, base)}


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        tensors = decode_all(Path(arguments[0]).read_bytes())
    except (FileError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for tensor, values in tensors:
        shape = "x".join(str(n) for n in tensor.shape) or "scalar"
        print(f"{tensor.name} {NAMES[tensor.dtype]} {shape} {crc32(values.tobytes()):08x}")
    if len(arguments) == 2:
        with zipfile.ZipFile(arguments[1], "w") as archive:
            for tensor, values in tensors:
                array: Any = io.BytesIO()
                np.lib.format.write_array(array, values)
                archive.writestr(f"{tensor.name}.npy", array.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
