"""The header in a tensor's first section: dequantizer, layout, chunks and outliers (`formats/wcz.md` section 4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.codec.dequantization import Dequantizer, parse_dequantizer
from wcodec.codec.dequantizer_base import TensorContext
from wcodec.codec.layout import VECTOR, WITH_TAPS, Shape3, check_layout, count_units, view_shape
from wcodec.codec.quantizers.states import States
from wcodec.container.wire import (
    EXACT,
    GROUPS,
    HAS_OUTLIERS,
    HASHED,
    PRODUCT,
    TRANSFORM,
    put_varint,
    take_byte,
    take_varint,
)
from wcodec.errors import CorruptError
from wcodec.model import FLOATS, ITEM_BYTES, TensorSpec
from wcodec.model.dataclass import dataclass

MAX_CHUNK = 1 << 21
MAX_EXACT = 1 << 22
"""The same for exact values: the taps of a large kernel stay together."""
_STATES: tuple[States, ...] = (0, 4, 8, 128)


@dataclass(frozen=True)
class TensorHeader:
    """Facts that every chunk of a tensor needs.

    rule:          the dequantizer; None for exact values.
    chunk_units:   units (rows, or elements) of a chunk; all of them if there is one chunk.
    positions:     of the outliers in C order, int64[n], ascending.
    outlier_bytes: their elements, uint8[n, item bytes].
    """

    dequantizer: Dequantizer | None
    layout: int
    chunk_units: int
    positions: npt.NDArray[np.int64]
    outlier_bytes: npt.NDArray[np.uint8]


NO_POSITIONS = np.empty(0, np.int64)


def chunk_shape(facts: TensorSpec, header: TensorHeader, number: int) -> Shape3:
    """(rows, channels, taps) of chunk `number`; (1, elements, 1) for exact values."""
    if header.dequantizer is None or header.layout == VECTOR:
        return 1, min(header.chunk_units, facts.count - number * header.chunk_units), 1
    rows, channels, taps = view_shape(facts.shape, header.layout)
    return min(header.chunk_units, rows - number * header.chunk_units), channels, taps


def pack_header(facts: TensorSpec, header: TensorHeader, chunks: int) -> bytes:
    """Inverse: `parse_header`."""
    number, states = (
        (EXACT, 0) if header.dequantizer is None else (header.dequantizer.number, header.dequantizer.states)
    )
    out = bytearray((number | _STATES.index(states) << 4 | (HAS_OUTLIERS if header.positions.size else 0),))
    if chunks > 1:
        put_varint(out, header.chunk_units)
    if header.dequantizer is None:
        return bytes(out)
    out.append(header.layout)
    if header.positions.size:
        put_varint(out, header.positions.size)
        previous = -1
        for position, outlier in zip(header.positions.tolist(), header.outlier_bytes, strict=True):
            put_varint(out, position - previous - 1)
            out += outlier.tobytes()
            previous = position
    header.dequantizer.pack(out)
    return bytes(out)


def parse_header(facts: TensorSpec, data: memoryview, chunks: int) -> tuple[TensorHeader, int]:
    """The header, and the position of the first chunk after it. Inverse: `pack_header`.

    chunks: the number of sections of the tensor, which must agree with the chunking.
    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    flags, at = take_byte(data, 0, "header")
    if flags & 0x80:
        raise CorruptError(f"header: expected flags of this version, got 0x{flags:02x}")
    number, states = flags & 15, _STATES[flags >> 4 & 3]
    chunk_units = -1
    if chunks > 1:
        chunk_units, at = take_varint(data, at)
    if number == EXACT:
        if flags >> 4:
            raise CorruptError(f"header: expected no states or outliers of exact values, got 0x{flags:02x}")
        return TensorHeader(
            None, VECTOR, _check_chunks(facts, None, chunk_units, chunks), NO_POSITIONS, np.empty((0, 0), np.uint8)
        ), at
    layout, at = take_byte(data, at, "layout")
    check_layout(facts.shape, layout)
    if facts.dtype not in FLOATS:
        raise CorruptError(f"header: expected exact values of type {facts.dtype}, got rule {number}")
    chunk_units = _check_chunks(facts, layout, chunk_units, chunks)
    positions, outlier_bytes = NO_POSITIONS, np.empty((0, ITEM_BYTES[facts.dtype]), np.uint8)
    if flags & HAS_OUTLIERS:
        positions, outlier_bytes, at = _parse_outliers(facts, data, at)
    if number == HASHED and chunks > 1:
        raise CorruptError(f"header: expected one section of hashed weights, got {chunks}")
    if number in {TRANSFORM, PRODUCT, GROUPS, HASHED} and layout == VECTOR:
        raise CorruptError(f"header: expected a layout with taps or rows for rule {number}, got {layout}")
    rows, channels, taps = view_shape(facts.shape, layout)
    context = TensorContext(states, taps if layout in WITH_TAPS else channels, rows, channels * taps)
    dequantizer, at = parse_dequantizer(data, at, number, context)
    return TensorHeader(dequantizer, layout, chunk_units, positions, outlier_bytes), at


def _check_chunks(facts: TensorSpec, layout: int | None, chunk_units: int, chunks: int) -> int:
    """Units of a chunk, checked: they must give `chunks` chunks of at most MAX_CHUNK (or MAX_EXACT) elements."""
    every = facts.count if layout is None else count_units(facts.shape, layout)
    if chunks == 1:
        chunk_units = every
    unit = max(1, facts.count // every) if every else 1
    if chunks > 1 and (chunk_units < 1 or -(-every // chunk_units) != chunks):
        raise CorruptError(f"{facts.name}: expected {chunks} chunks, got {every} units by {chunk_units}")
    most = MAX_EXACT if layout is None else MAX_CHUNK
    if chunk_units * unit > most:
        raise CorruptError(f"{facts.name}: expected at most {most} elements a chunk, got {chunk_units * unit}")
    return chunk_units


def _parse_outliers(
    facts: TensorSpec, data: memoryview, at: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], int]:
    item = ITEM_BYTES[facts.dtype]
    count, at = take_varint(data, at)
    if not 0 < count <= min(facts.count, len(data) // (item + 1)):
        raise CorruptError(f"outliers: expected 1 to {min(facts.count, len(data) // (item + 1))}, got {count}")
    positions, position = np.empty(count, np.int64), -1
    outlier_bytes = np.empty((count, item), np.uint8)
    for i in range(count):
        gap, at = take_varint(data, at)
        position += gap + 1
        if position >= facts.count or at + item > len(data):
            raise CorruptError(f"outliers: expected positions under {facts.count} with {item} bytes, got {position}")
        positions[i] = position
        outlier_bytes[i] = np.frombuffer(data[at : at + item], np.uint8)
        at += item
    return positions, outlier_bytes, at
