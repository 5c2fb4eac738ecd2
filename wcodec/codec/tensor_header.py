"""The head of a tensor's first section: rule, layout, chunking and patches (`formats/wcz.md` section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wcodec.codec.dequantization import Rule
from wcodec.codec.dequantization_params import pack_rule, parse_rule, rule_id
from wcodec.codec.layout import VECTOR, WITH_TAPS, Shape3, check_layout, units, view_shape
from wcodec.codec.quantizers.trellis import States
from wcodec.container.wire import EXACT, PATCHED, PRODUCT, TRANSFORM, put_varint, take_varint
from wcodec.errors import CorruptError, TruncatedError
from wcodec.model import FLOATS, ITEM_BYTES, TensorSpec

MAX_CHUNK = 1 << 21
MAX_EXACT = 1 << 22
"""The same of exact values: the taps of a large kernel stay together."""
_STATES: tuple[States, ...] = (0, 4, 8, 128)


@dataclass(frozen=True)
class Head:
    """What every chunk of a tensor needs.

    rule:        None for exact values.
    chunk_units: units (rows, or elements) a chunk; all of them when there is one chunk.
    patches:     positions int64[n] in C order, ascending, and their elements' bytes uint8[n, item bytes].
    """

    rule: Rule | None
    layout: int
    chunk_units: int
    positions: npt.NDArray[np.int64]
    patches: npt.NDArray[np.uint8]


NO_POSITIONS = np.empty(0, np.int64)


def chunk_shape(facts: TensorSpec, head: Head, number: int) -> Shape3:
    """(rows, channels, taps) of chunk `number`; (1, elements, 1) for exact values."""
    if head.rule is None or head.layout == VECTOR:
        return 1, min(head.chunk_units, facts.count - number * head.chunk_units), 1
    rows, channels, taps = view_shape(facts.shape, head.layout)
    return min(head.chunk_units, rows - number * head.chunk_units), channels, taps


def pack_head(facts: TensorSpec, head: Head, chunks: int) -> bytes:
    """Inverse: `parse_head`."""
    number, states = (EXACT, 0) if head.rule is None else (rule_id(head.rule), head.rule.states)
    out = bytearray((number | _STATES.index(states) << 4 | (PATCHED if head.positions.size else 0),))
    if chunks > 1:
        put_varint(out, head.chunk_units)
    if head.rule is None:
        return bytes(out)
    out.append(head.layout)
    if head.positions.size:
        put_varint(out, head.positions.size)
        previous = -1
        for position, patch in zip(head.positions.tolist(), head.patches, strict=True):
            put_varint(out, position - previous - 1)
            out += patch.tobytes()
            previous = position
    pack_rule(out, head.rule)
    return bytes(out)


def parse_head(facts: TensorSpec, data: memoryview, chunks: int) -> tuple[Head, int]:
    """The head and the position of the first chunk behind it. Inverse: `pack_head`.

    chunks: sections of the tensor; the chunking must come to just as many.
    Raises: CorruptError, TruncatedError, UnsupportedError.
    """
    if not len(data):
        raise TruncatedError("head: ended early; needed its first byte")
    flags, at = data[0], 1
    if flags & 0x80:
        raise CorruptError(f"head: expected flags of this version, got 0x{flags:02x}")
    number, states = flags & 15, _STATES[flags >> 4 & 3]
    chunk_units = -1
    if chunks > 1:
        chunk_units, at = take_varint(data, at)
    if number == EXACT:
        if flags >> 4:
            raise CorruptError(f"head: expected no states or patches of exact values, got 0x{flags:02x}")
        return Head(
            None, VECTOR, _chunking(facts, None, chunk_units, chunks), NO_POSITIONS, np.empty((0, 0), np.uint8)
        ), at
    if at >= len(data):
        raise TruncatedError("head: ended early; needed the layout")
    layout, at = data[at], at + 1
    check_layout(facts.shape, layout)
    if facts.dtype not in FLOATS:
        raise CorruptError(f"head: expected exact values of type {facts.dtype}, got rule {number}")
    chunk_units = _chunking(facts, layout, chunk_units, chunks)
    positions, patches = NO_POSITIONS, np.empty((0, ITEM_BYTES[facts.dtype]), np.uint8)
    if flags & PATCHED:
        positions, patches, at = _parse_patches(facts, data, at)
    if number in {TRANSFORM, PRODUCT} and layout == VECTOR:
        raise CorruptError(f"head: expected a layout with taps or rows for rule {number}, got {layout}")
    rows, channels, taps = view_shape(facts.shape, layout)
    rule, at = parse_rule(data, at, number, states, taps if layout in WITH_TAPS else channels, rows)
    return Head(rule, layout, chunk_units, positions, patches), at


def _chunking(facts: TensorSpec, layout: int | None, chunk_units: int, chunks: int) -> int:
    """Units a chunk, after checking that they come to `chunks` chunks of MAX_CHUNK (or MAX_EXACT) elements at most."""
    every = facts.count if layout is None else units(facts.shape, layout)
    if chunks == 1:
        chunk_units = every
    unit = max(1, facts.count // every) if every else 1
    if chunks > 1 and (chunk_units < 1 or -(-every // chunk_units) != chunks):
        raise CorruptError(f"{facts.name}: expected {chunks} chunks, got {every} units by {chunk_units}")
    most = MAX_EXACT if layout is None else MAX_CHUNK
    if chunk_units * unit > most:
        raise CorruptError(f"{facts.name}: expected at most {most} elements a chunk, got {chunk_units * unit}")
    return chunk_units


def _parse_patches(
    facts: TensorSpec, data: memoryview, at: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], int]:
    item = ITEM_BYTES[facts.dtype]
    count, at = take_varint(data, at)
    if not 0 < count <= min(facts.count, len(data) // (item + 1)):
        raise CorruptError(f"patches: expected 1 to {min(facts.count, len(data) // (item + 1))}, got {count}")
    positions, position = np.empty(count, np.int64), -1
    patches = np.empty((count, item), np.uint8)
    for i in range(count):
        gap, at = take_varint(data, at)
        position += gap + 1
        if position >= facts.count or at + item > len(data):
            raise CorruptError(f"patches: expected positions under {facts.count} with {item} bytes, got {position}")
        positions[i] = position
        patches[i] = np.frombuffer(data[at : at + item], np.uint8)
        at += item
    return positions, patches, at
