"""Fixed fields: gaps and codes of a fixed number of bits each (Han, Mao and Dally 2016, before Huffman coding).

If there are no zeros to skip, gaps have no bits and every weight has a code. `formats/wcz.md` section 14.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import sparse
from wcodec.container.wire import MAX_LEVEL, put_varint, take_byte, take_bytes, take_varint
from wcodec.errors import CorruptError
from wcodec.kernels import symbols as kernel
from wcodec.model.dataclass import dataclass

Levels = npt.NDArray[np.int32]
Symbols = npt.NDArray[np.uint32]
MAX_CODE_BITS = 31


@dataclass(frozen=True)
class Fields:
    """The head of a payload.

    gap_bits:  0: every weight is an entry.
    negatives: how many of the codes 1, 2, ... stand for levels below 0.
    """

    entries: int
    gap_bits: int
    code_bits: int
    negatives: int

    @property
    def gap_bytes(self) -> int:
        """Bytes of the bitstream of gaps."""
        return -(-self.entries * self.gap_bits // 8)

    @property
    def code_bytes(self) -> int:
        """Bytes of the bitstream of codes."""
        return -(-self.entries * self.code_bits // 8)


def choose_fields(flat: Levels, runs: Symbols) -> Fields:
    """The fields with the fewest bits for int32[n] levels, whose zero runs are uint32 `runs`; if equal, with fewer gap
    bits.

    At least one level is not 0.
    """
    negatives = -min(int(flat.min()), 0)
    code_bits = (negatives + max(int(flat.max()), 0)).bit_length()
    best = Fields(flat.size, 0, code_bits, negatives)
    for gap_bits in range(1, sparse.MAX_GAP_BITS + 1):
        fields = Fields(count_entries(runs, gap_bits), gap_bits, code_bits, negatives)
        best = min(best, fields, key=lambda one: one.entries * (one.gap_bits + one.code_bits))
    return best


def count_entries(runs: Symbols, gap_bits: int) -> int:
    """The number of survivors and fillers."""
    return len(runs) + int((runs >> np.uint32(gap_bits)).sum(dtype=np.int64))


def encode(levels: Levels) -> bytes:
    """int32[rows, channels, taps] as fields with the widths of the fewest bits. Inverse: `decode`."""
    flat = np.ascontiguousarray(levels, np.int32).reshape(-1)
    runs = sparse.zero_runs(flat)
    out = bytearray()
    if not len(runs):
        put_varint(out, 0)
        return bytes(out)
    fields = choose_fields(flat, runs)
    put_varint(out, fields.entries)
    out += bytes((fields.gap_bits, fields.code_bits))
    put_varint(out, fields.negatives)
    if not fields.gap_bits:
        return bytes(out) + _pack(codes_of(flat, fields.negatives), fields.code_bits)
    gaps, zigzag = sparse.sparsify(flat, runs, fields.gap_bits)
    codes = codes_of(_unzigzag(zigzag), fields.negatives)
    return bytes(out) + _pack(gaps, fields.gap_bits) + _pack(codes, fields.code_bits)


def encode_aligned(levels: Levels, size: int) -> bytes:
    """int32[rows, channels, taps] as codes of `size` whole bytes without gaps. A level has the same code in every
    chunk.

    levels: from -(2^(8 size - 1)) to 2^(8 size - 1) - 1. Inverse: `decode`.
    """
    flat, half = np.ascontiguousarray(levels, np.int32).reshape(-1), 1 << (8 * size - 1)
    out = bytearray()
    put_varint(out, flat.size)
    out += bytes((0, 8 * size))
    put_varint(out, half)
    return bytes(out) + _pack(codes_of(flat, half), 8 * size)


def decode(payload: bytes, shape: tuple[int, int, int]) -> Levels:
    """int32[shape]. Inverse: `encode`.

    Raises: TruncatedError, CorruptError.
    """
    weights = math.prod(shape)
    fields, at = parse_fields(payload, weights)
    if not fields.entries:
        return np.zeros(shape, np.int32)
    packed, at = take_bytes(payload, at, fields.gap_bytes, "gaps")
    gaps = _unpack(packed, fields.gap_bits, fields.entries) if fields.gap_bits else np.empty(0, np.uint32)
    packed, at = take_bytes(payload, at, fields.code_bytes, "codes")
    if at != len(payload):
        raise CorruptError(f"fixed fields: expected nothing after the codes, got {len(payload) - at} bytes")
    levels = _convert_codes(_unpack(packed, fields.code_bits, fields.entries), fields.negatives)
    if not fields.gap_bits:
        return levels.reshape(shape)
    zigzag = np.empty(len(levels), np.uint32)
    kernel.zigzag(levels, zigzag)
    return sparse.densify(gaps, zigzag, fields.gap_bits, weights).reshape(shape)


def parse_fields(payload: bytes, weights: int) -> tuple[Fields, int]:
    """The head of a payload of this many weights, and the position of the gaps.

    Raises: TruncatedError, CorruptError.
    """
    entries, at = take_varint(payload, 0)
    if entries > weights:
        raise CorruptError(f"fixed fields: expected at most {weights} entries, got {entries}")
    if not entries:
        if at != len(payload):
            raise CorruptError(f"fixed fields: expected nothing after no entries, got {len(payload) - at} bytes")
        return Fields(0, 0, 0, 0), at
    gap_bits, at = take_byte(payload, at, "gap bits")
    code_bits, at = take_byte(payload, at, "code bits")
    negatives, at = take_varint(payload, at)
    if gap_bits > sparse.MAX_GAP_BITS or not 1 <= code_bits <= MAX_CODE_BITS or negatives > MAX_LEVEL:
        raise CorruptError(
            f"fixed fields: expected at most {sparse.MAX_GAP_BITS} gap bits, 1 to {MAX_CODE_BITS} code bits and at "
            f"most {MAX_LEVEL} negatives, got {gap_bits}, {code_bits} and {negatives}"
        )
    if not gap_bits and entries != weights:
        raise CorruptError(f"fixed fields: expected {weights} entries without gaps, got {entries}")
    return Fields(entries, gap_bits, code_bits, negatives), at


def codes_of(levels: Levels, negatives: int) -> Symbols:
    """0 for level 0, otherwise the position among the non-zero levels, from 1. Inverse: `_convert_codes`."""
    shifted = levels.astype(np.int64) + negatives
    return np.where(levels == 0, 0, shifted + (levels < 0)).astype(np.uint32)


def _convert_codes(codes: Symbols, negatives: int) -> Levels:
    """Inverse: `codes_of`. Raises: CorruptError for a level that is too large."""
    levels = codes.astype(np.int64) - negatives
    levels = np.where(codes == 0, 0, np.where(levels <= 0, levels - 1, levels))
    if levels.size and max(int(levels.max()), -int(levels.min())) > MAX_LEVEL:
        raise CorruptError(f"fixed fields: expected levels of at most {MAX_LEVEL} in magnitude, got a larger one")
    return levels.astype(np.int32)


def _unzigzag(zigzag: Symbols) -> Levels:
    levels = np.empty(len(zigzag), np.int32)
    kernel.unzigzag(zigzag, levels)
    return levels


def _pack(symbols: Symbols, bits: int) -> bytes:
    packed = np.zeros(-(-len(symbols) * bits // 8), np.uint8)
    kernel.pack(symbols, bits, packed)
    return packed.tobytes()


def _unpack(packed: bytes | memoryview, bits: int, count: int) -> Symbols:
    """Inverse: `_pack`. Raises: CorruptError."""
    symbols = np.empty(count, np.uint32)
    if left := kernel.unpack(np.frombuffer(packed, np.uint8), bits, symbols):
        raise CorruptError(f"fixed fields: expected 0 after the last one, got {left}")
    return symbols
