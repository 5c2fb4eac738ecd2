"""Canonical Huffman codes of at most 12 bits for symbols of up to 32 bits (Huffman 1952; limited by package-merge).

Large alphabets are split: the leading bits of a symbol (its token) are Huffman coded, and the low bits follow uncoded,
which costs little if neighbouring symbols are about equally likely.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.container.wire import put_varint, take_varint
from wcodec.errors import CorruptError, TruncatedError
from wcodec.kernels.huffman import code as code_kernel
from wcodec.kernels.huffman import coder as kernel
from wcodec.model.dataclass import dataclass

Symbols = npt.NDArray[np.uint8] | npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

LIMIT: Final = 12
"""Bits of the longest codeword: the decoder's table stays in the first-level cache."""
FINEST: Final = 11
"""The largest precision: symbols below 2**12 are their own tokens."""
STREAMS: Final = 4
STREAMED: Final = 1024
"""With this many symbols or more there are four bitstreams, which a processor decodes in parallel."""
PADDING: Final = 8


@dataclass(frozen=True, eq=False)
class HuffmanCode:
    """A complete prefix code.

    precision: a token is the precision + 1 leading bits of a symbol, and their position.
    lengths:   uint8[tokens], bits of a codeword, 0 for an absent token.
    table:     the lengths as they are stored.
    bits:      of all codewords and raw bits of the symbols for which the code was built.
    raw_bits:  of these, the raw ones.
    """

    precision: int
    lengths: Bytes
    table: bytes
    bits: int
    raw_bits: int

    @property
    def nbytes(self) -> int:
        """Bytes of the payload, exact up to the rounding of its streams."""
        return 1 + len(self.table) + (self.bits + 7) // 8


def count_tokens(symbols: Symbols) -> Counts:
    """The count of each token of the finest precision in `symbols` (at least one)."""
    largest = np.array([symbols.max()], np.int64)
    counts = np.zeros((2, int(tokens_of(largest, FINEST)[0]) + 1), np.int64)
    kernel.histogram(symbols, FINEST, counts)
    total: Counts = counts[0] + counts[1]
    return total


def tokens_of(symbols: Counts, precision: int) -> Counts:
    """The token of each symbol. Inverse, up to the raw bits: `symbols_of`."""
    if int(symbols.max(initial=0)) < 2 << precision:
        return symbols
    raw: Counts = np.maximum(np.frexp(symbols.astype(np.float64))[1].astype(np.int64) - (precision + 1), 0)
    tokens: Counts = (raw << precision) + (symbols >> raw)
    return tokens


def symbols_of(tokens: Counts, precision: int) -> tuple[Counts, Counts]:
    """The smallest symbol of each token, and the number of raw bits of the token. Inverse: `tokens_of`."""
    if int(tokens.max(initial=0)) < 2 << precision:
        return tokens, np.zeros_like(tokens)
    raw: Counts = np.maximum((tokens >> precision) - 1, 0)
    return (tokens - (raw << precision)) << raw, raw


def build_code(counts: Counts) -> HuffmanCode | None:
    """The smallest code for symbols counted by `count_tokens`; None where no token differs from another."""
    used = np.flatnonzero(counts)
    first, _ = symbols_of(used, FINEST)
    finest = min(FINEST, max(int(first[-1]).bit_length() - 1, 0))
    precision = code_kernel.best_precision(first, counts[used], finest)
    if precision < 0:
        return None
    coarse = np.bincount(tokens_of(first, precision), weights=counts[used]).astype(np.int64)
    return _build_code(coarse, precision)


def build_byte_code(counts: Counts) -> HuffmanCode | None:
    """A code for bytes, counted in int64[256], each of which is its own token; None if all are equal."""
    return _build_code(counts[: int(np.flatnonzero(counts)[-1]) + 1], 8)


def _build_code(counts: Counts, precision: int) -> HuffmanCode | None:
    used = np.flatnonzero(counts)
    m = len(used)
    if not 2 <= m <= 1 << LIMIT:
        return None
    order = used[np.argsort(counts[used], kind="stable")]
    ordered = np.empty(m, np.uint8)
    sums, leaf = np.empty((2, 2 * m), np.int64), np.empty((LIMIT, 2 * m), np.uint8)
    code_kernel.code_lengths(counts[order], LIMIT, ordered, sums, leaf)
    lengths = np.zeros(len(counts), np.uint8)
    lengths[order] = ordered
    table = np.zeros(len(counts) + 16, np.uint8)
    written = code_kernel.write_table(lengths, table)
    raw_bits = int(counts[used] @ symbols_of(used, precision)[1])
    return HuffmanCode(
        precision, lengths, table[:written].tobytes(), int(counts[used] @ lengths[used]) + raw_bits, raw_bits
    )


def encode(symbols: Symbols, code: HuffmanCode) -> bytes:
    """Precision, table, sizes of all bitstreams but the last, bitstreams, raw bits. Inverse: `decode`."""
    codes = np.zeros(len(code.lengths), np.uint32)
    code_kernel.codewords(code.lengths, codes)
    room = np.empty(code.bits // 8 + 8 * (STREAMS + 2), np.uint8)
    head = bytearray((code.precision,)) + code.table
    runs = _split_runs(len(symbols))
    at = 0
    for k, run in enumerate(runs):
        size = kernel.encode(symbols[run], code.precision, codes, room[at:])
        at += size
        if k < len(runs) - 1:
            put_varint(head, size)
    if code.raw_bits:
        at += kernel.encode_raw(symbols.astype(np.uint32, copy=False), code.precision, room[at:])
    return bytes(head) + room[:at].tobytes()


def decode(payload: bytes, symbols: Symbols) -> None:
    """Fill `symbols` (at least one). Inverse: `encode`.

    Raises: TruncatedError, CorruptError.
    """
    precision, lengths, at = take_code(payload, 8 * symbols.itemsize)
    runs = _split_runs(len(symbols))
    ends: list[int] = []
    for _ in runs[1:]:
        size, at = take_varint(payload, at)
        ends.append(size)
    starts = list(accumulate([at, *ends]))
    if starts[-1] >= len(payload):
        raise TruncatedError(f"Huffman bitstreams: ended early; needed {starts[-1] + 1} bytes, got {len(payload)}")
    padded = np.zeros(len(payload) + PADDING, np.uint8)
    padded[:-PADDING] = np.frombuffer(payload, np.uint8)
    codes = np.zeros(len(lengths), np.uint32)
    code_kernel.codewords(lengths, codes)
    width = int(lengths.max())
    table = np.zeros(1 << width, np.uint32)
    code_kernel.fill_table(codes, width, table)
    positions = 8 * np.array(starts, np.int64)
    kernel.decode(padded, positions, table, symbols)
    for k, end in enumerate(positions.tolist()):
        if end < 0 or end > 8 * len(payload):
            raise TruncatedError(f"Huffman bitstream {k}: ended early; {len(symbols)} symbols do not fit")
        _check_end(padded, end, starts[k + 1] if k < len(ends) else None, f"Huffman bitstream {k}")
    raw_at = (int(positions[-1]) + 7) // 8
    end = raw_at * 8
    if len(lengths) > 2 << precision:
        wide = symbols.astype(np.uint32, copy=False)
        end = kernel.decode_raw(wide, precision, padded, raw_at)
        symbols[:] = wide
    if end < 0 or end > 8 * len(payload):
        raise TruncatedError(f"raw bits: ended early; needed more than {len(payload) - raw_at} bytes")
    _check_end(padded, end, len(payload), "raw bits")


def take_code(payload: bytes, symbol_bits: int) -> tuple[int, Bytes, int]:
    """Precision, lengths uint8[tokens] and the position after them, of symbols of `symbol_bits` bits.

    Raises: TruncatedError, CorruptError.
    """
    if not payload:
        raise TruncatedError("Huffman payload: ended early; needed 1 byte, got 0")
    precision = payload[0]
    if precision > FINEST:
        raise CorruptError(f"Huffman precision: expected at most {FINEST}, got {precision}")
    tokens = (symbol_bits - precision + 1) << precision if precision < symbol_bits else 1 << symbol_bits
    lengths = np.zeros(tokens, np.uint8)
    used, count = code_kernel.read_table(np.frombuffer(payload, np.uint8)[1:], lengths)
    if used == -1:
        raise TruncatedError(f"Huffman table: ended early; got {len(payload) - 1} bytes")
    if used < 0:
        raise CorruptError("Huffman table: expected the lengths of a complete code, got others")
    return precision, lengths[:count], 1 + used


def _split_runs(count: int) -> list[slice]:
    """The number of symbols in each bitstream: equal for all but the last, which is not longer."""
    streams = STREAMS if count >= STREAMED else 1
    size = -(-count // streams)
    return [slice(k * size, min((k + 1) * size, count)) for k in range(streams)]


def _check_end(padded: Bytes, bit: int, end: int | None, what: str) -> None:
    """Check that the bits from `bit` to the end of its byte are 0, and that this byte is the last before `end`."""
    if bit & 7 and padded[bit >> 3] >> (bit & 7):
        raise CorruptError(f"{what}: expected 0 after the last symbol, got {padded[bit >> 3] >> (bit & 7)}")
    if end is not None and (bit + 7) // 8 != end:
        raise CorruptError(f"{what}: expected to end at byte {end}, got {(bit + 7) // 8}")
