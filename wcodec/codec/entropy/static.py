"""The static coder of levels: scales and tables are transmitted, and eight interleaved rANS states decode one row each.

Decoding depends on earlier levels only through the trellis' quantiser, so it runs at the speed of table look-ups
(`formats/wcz.md`, section static levels).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import symbols
from wcodec.codec.entropy.static_model import MAX_CLASSES, MAX_CODE, Scales, Tables
from wcodec.container.wire import MAX_LEVEL, put_varint, take_varint
from wcodec.errors import CorruptError, TruncatedError
from wcodec.kernels import symbols as zigzag_kernel
from wcodec.kernels.static import coder as kernel
from wcodec.kernels.static import tables as table_kernel
from wcodec.kernels.static.tables import GROUPS, MAX_HAZARD

if TYPE_CHECKING:
    from wcodec.codec.plan import Effort

Levels = npt.NDArray[np.int32]
Shape = tuple[int, int, int]
LANES: Final = 8
MAX_SCALE: Final = 3 * 255


def encode(levels: Levels, states: int = 0, effort: Effort = "normal") -> bytes:
    """Encode int32[rows, channels, taps], |level| <= wire.MAX_LEVEL, to a self-contained payload; never fails.

    states: 0, or the number of states (4, 8 or 128) of the trellises of `quantizers.trellis.quantize_in_lanes`.
    effort: "fast" computes the scales from means alone.
    Inverse: `decode`.
    """
    from wcodec.codec.entropy.static_fit import ROUNDS, fit_scales

    if not levels.any():
        return b""
    levels = np.ascontiguousarray(levels, np.int32)
    scales, tables = fit_scales(levels, states, 0 if effort == "fast" else ROUNDS)
    out = bytearray()
    _pack(out, scales, tables)
    words, first, escaped = _code_levels(_flatten(levels), scales, tables, states)
    put_varint(out, len(escaped))
    if len(escaped):
        zigzag = np.empty(len(escaped), np.uint32)
        zigzag_kernel.zigzag(escaped, zigzag)
        _put_stream(out, zigzag)
    return bytes(out) + first.astype("<u4").tobytes() + words.astype("<u2", copy=False).tobytes()


def side_bytes(payload: bytes) -> int:
    """Bytes of scales and tables in a payload that is not empty."""
    _, at = take_varint(payload, 0)
    _, at = take_varint(payload, at)
    for _ in range(3):
        length, at = take_varint(payload, at)
        at += length
    return at


def values_of(levels: Levels, states: int) -> Levels:
    """The integers, in steps, for levels[rows, channels, taps] in lanes."""
    from wcodec.kernels.static import fit as fit_kernel

    values = np.empty(levels.shape, np.int32)
    if levels.size:
        fit_kernel.fill_values(_flatten(levels), states, _flatten(values))
    return values


def _flatten(levels: Levels) -> Levels:
    """int32[rows, channels * taps]"""
    return np.ascontiguousarray(levels).reshape(len(levels), -1)


def _code_levels(
    levels: Levels, scales: Scales, tables: Tables, states: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint32], Levels]:
    words, first = np.empty(levels.size, np.uint16), np.empty(LANES, np.uint32)
    escaped = np.empty(levels.size // 64, np.int32)
    while True:
        count, escapes = kernel.encode(
            levels, scales.rows, scales.columns, tables.first, tables.lookups, states, words, first, escaped
        )
        if escapes <= len(escaped):
            return words[len(words) - count :], first, escaped[:escapes]
        escaped = np.empty(escapes, np.int32)


def _pack(out: bytearray, scales: Scales, tables: Tables) -> None:
    put_varint(out, tables.classes)
    put_varint(out, tables.first)
    taps = scales.taps if len(scales.taps) > 1 else scales.taps[:0]
    _put_stream(out, np.concatenate((scales.rows, scales.channels, taps)))
    _put_stream(out, tables.groups)
    _put_stream(out, _compute_differences(tables))


def _put_stream(out: bytearray, values: npt.NDArray[np.uint8] | npt.NDArray[np.uint32]) -> None:
    stream = symbols.encode(values.astype(np.uint32))
    put_varint(out, len(stream))
    out += stream


def _compute_differences(tables: Tables) -> npt.NDArray[np.uint32]:
    differences = np.empty(len(tables.hazards), np.uint32)
    table_kernel.turn_differences(tables.groups, tables.quantisers, tables.hazards, differences)
    return differences


def decode(payload: bytes, shape: Shape, states: int, wide: bool = True) -> Levels:
    """The integers int32[rows, channels, taps], in steps, of a payload.

    wide: use AVX2 if the machine has it; the result is the same.
    Raises: TruncatedError, CorruptError, UnsupportedError. Inverse: `encode`.
    """
    if not payload:
        return np.zeros(shape, np.int32)
    values = np.empty(shape, np.int32)
    if not values.size:
        raise CorruptError(f"static levels: expected no bytes for shape {shape}, got {len(payload)}")
    scales, tables, at = _parse(payload, shape, 2 if states else 1)
    count, at = take_varint(payload, at)
    if count > values.size:
        raise CorruptError(f"static levels: expected at most {values.size} escapes, got {count}")
    escaped = np.empty(0, np.int32)
    if count:
        zigzag, at = _take_stream(payload, at, count)
        escaped = zigzag.view(np.int32)
        largest = zigzag_kernel.unzigzag(zigzag, escaped)
        if largest > 2 * MAX_LEVEL:
            raise CorruptError(f"static levels: expected escapes of at most {2 * MAX_LEVEL}, got {largest}")
    coded = len(payload) - at - 4 * LANES
    if coded < 0:
        raise TruncatedError(f"static levels: ended early; needed {at + 4 * LANES} bytes, got {len(payload)}")
    if coded % 2:
        raise CorruptError("static levels: expected words of two bytes, got a byte more")
    first = np.frombuffer(payload, "<u4", LANES, at).astype(np.uint32)
    words = np.zeros(coded // 2 + LANES, np.uint16)
    words[: coded // 2] = np.frombuffer(payload, "<u2", -1, at + 4 * LANES) if coded else 0
    if not kernel.decode(
        words,
        coded // 2,
        first,
        scales.rows,
        scales.columns,
        tables.first,
        tables.lookups,
        escaped,
        states,
        _flatten(values),
        wide,
    ):
        raise CorruptError(f"static levels: expected {values.size} levels in {len(payload)} bytes, got other contents")
    return values


def _parse(payload: bytes, shape: Shape, quantisers: int) -> tuple[Scales, Tables, int]:
    """Scales and tables, and the position of the escapes. Inverse: `_pack`."""
    rows, channels, taps = shape
    classes, at = take_varint(payload, 0)
    first, at = take_varint(payload, at)
    if not 0 < classes <= MAX_CLASSES or first > MAX_SCALE:
        raise CorruptError(
            f"static levels: expected 1 to {MAX_CLASSES} classes from one to {MAX_SCALE}, got {classes}, {first}"
        )
    own = taps if taps > 1 else 0
    codes, at = _take_codes(payload, at, rows + channels + own, MAX_CODE)
    groups, at = _take_codes(payload, at, classes * quantisers, GROUPS)
    if not groups.all():
        raise CorruptError("static levels: expected a group in every table, got none")
    differences, at = _take_stream(payload, at, int(groups.sum()))
    hazards = np.empty(len(differences), np.uint8)
    if not table_kernel.add_differences(groups, quantisers, differences, hazards):
        raise CorruptError(f"static levels: expected hazards of at most {MAX_HAZARD}, got another")
    tap = codes[rows + channels :] if own else np.zeros(1, np.uint8)
    return Scales(codes[:rows], codes[rows : rows + channels], tap), Tables(classes, first, groups, hazards), at


def _take_codes(payload: bytes, at: int, count: int, most: int) -> tuple[npt.NDArray[np.uint8], int]:
    codes, at = _take_stream(payload, at, count)
    if int(codes.max()) > most:
        raise CorruptError(f"static levels: expected codes of at most {most}, got {int(codes.max())}")
    return codes.astype(np.uint8), at


def _take_stream(payload: bytes, at: int, count: int) -> tuple[npt.NDArray[np.uint32], int]:
    """A stream of symbols after its length. Inverse: `_put_stream`."""
    length, at = take_varint(payload, at)
    if at + length > len(payload):
        raise TruncatedError(f"static levels: ended early; needed {at + length} bytes, got {len(payload)}")
    return symbols.decode(payload[at : at + length], count), at + length
