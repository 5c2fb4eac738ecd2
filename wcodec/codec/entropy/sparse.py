"""Sparse levels by relative index (Han, Mao and Dally 2016): the gap before each survivor, and its code.

A gap has `gap_bits` bits. If 2**gap_bits or more zeros follow each other, a filler is inserted: the longest gap and
code 0. Gaps and codes are two streams of symbols.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import huffman, symbols
from wcodec.container.wire import put_varint, take_byte, take_bytes, take_varint
from wcodec.errors import CorruptError
from wcodec.kernels import sparse as kernel

Levels = npt.NDArray[np.int32]
Symbols = npt.NDArray[np.uint32]
MAX_GAP_BITS: Final = 16


def encode(levels: Levels, with_zstd: bool = True) -> bytes:
    """int32[rows, channels, taps] as entries, gap bits, gaps and codes, with the gap bits of the smallest result.

    with_zstd: whether zstd may code gaps and codes if it is smaller than Huffman codes. Inverse: `decode`.
    """
    flat = np.ascontiguousarray(levels, np.int32).reshape(-1)
    runs = zero_runs(flat)
    out = bytearray()
    if not len(runs):
        put_varint(out, 0)
        return bytes(out)
    gap_bits = choose_gap_bits(runs, flat)
    gaps, codes = sparsify(flat, runs, gap_bits)
    packed = symbols.encode(gaps, with_zstd)
    put_varint(out, len(gaps))
    out.append(gap_bits)
    put_varint(out, len(packed))
    return bytes(out) + packed + symbols.encode(codes, with_zstd)


def decode(payload: bytes, shape: tuple[int, int, int]) -> Levels:
    """int32[shape]. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    weights = math.prod(shape)
    entries, gap_bits, start, middle = parse_head(payload, weights)
    if not entries:
        return np.zeros(shape, np.int32)
    gaps = symbols.decode(payload[start:middle], entries)
    codes = symbols.decode(payload[middle:], entries)
    return densify(gaps, codes, gap_bits, weights).reshape(shape)


def zero_runs(flat: Levels) -> Symbols:
    """uint32[survivors]: the number of zeros before each non-zero level of int32[n]."""
    runs = np.empty(len(flat), np.uint32)
    return runs[: kernel.zero_runs(flat, runs)]


def sparsify(flat: Levels, runs: Symbols, gap_bits: int) -> tuple[Symbols, Symbols]:
    """Gaps and codes of int32[n] levels, whose zero runs are `runs`. Inverse: `densify`."""
    entries = len(runs) + int((runs >> np.uint32(gap_bits)).sum(dtype=np.int64))
    gaps, codes = np.empty(entries, np.uint32), np.empty(entries, np.uint32)
    kernel.sparsify(flat, gap_bits, gaps, codes)
    return gaps, codes


def densify(gaps: Symbols, codes: Symbols, gap_bits: int, weights: int) -> Levels:
    """int32[weights]. Inverse: `sparsify`.

    Raises: CorruptError.
    """
    levels = np.zeros(weights, np.int32)
    bad = kernel.densify(gaps, codes, gap_bits, levels)
    if bad >= 0:
        raise CorruptError(
            f"sparse levels: expected {weights} weights and gaps of {gap_bits} bits, "
            f"got gap {gaps[bad]} and code {codes[bad]} as entry {bad} of {len(gaps)}"
        )
    return levels


def choose_gap_bits(runs: Symbols, flat: Levels) -> int:
    """The gap bits (1..16) with the smallest Huffman codes; the smaller ones if equal."""
    run, count = _tally(runs)
    survivors = flat[flat != 0]
    zigzag = ((survivors << 1) ^ (survivors >> 31)).view(np.uint32)
    code_counts = huffman.count_tokens(zigzag)
    sizes: dict[int, int] = {}
    for bits in range(1, min(MAX_GAP_BITS, max(int(run[-1]).bit_length(), 1)) + 1):
        gaps = np.bincount((run & ((1 << bits) - 1)).astype(np.int64), weights=count).astype(np.int64)
        gaps = np.concatenate([gaps, np.zeros((1 << bits) - len(gaps), np.int64)])
        fillers = int((run >> np.uint32(bits)).astype(np.int64) @ count)
        gaps[-1] += fillers
        code_counts[0] = fillers
        sizes[bits] = _estimate(gaps) + _estimate(code_counts)
    return min(sizes, key=lambda bits: (sizes[bits], bits))


def _tally(runs: Symbols) -> tuple[Symbols, npt.NDArray[np.int64]]:
    """The distinct runs, ascending, and the count of each."""
    if int(runs.max()) > len(runs):  # a table would be larger than the runs
        run, count = np.unique(runs, return_counts=True)
        return run, count.astype(np.int64)
    table = np.bincount(runs)
    present = np.flatnonzero(table)
    return present.astype(np.uint32), table[present].astype(np.int64)


def _estimate(counts: npt.NDArray[np.int64]) -> int:
    """Bytes of a stream in which symbol k (below 2**12, otherwise its token) occurs counts[k] times."""
    largest = np.flatnonzero(counts)[-1:]
    if len(counts) > 2 << huffman.FINEST and len(largest):
        tokens = huffman.tokens_of(np.arange(len(counts), dtype=np.int64), huffman.FINEST)
        counts = np.bincount(tokens, weights=counts).astype(np.int64)
    code = huffman.build_code(counts)
    return code.nbytes if code else 2


def parse_head(payload: bytes, weights: int) -> tuple[int, int, int, int]:
    """Entries, gap bits, and the positions of gaps and codes.

    Raises: TruncatedError, CorruptError.
    """
    entries, at = take_varint(payload, 0)
    if entries > weights:
        raise CorruptError(f"sparse levels: expected at most {weights} entries, got {entries}")
    if entries == 0:
        if at != len(payload):
            raise CorruptError(f"sparse levels: expected nothing after no entries, got {len(payload) - at} bytes")
        return 0, 0, at, at
    gap_bits, at = take_byte(payload, at, "gap bits")
    if not 1 <= gap_bits <= MAX_GAP_BITS:
        raise CorruptError(f"sparse levels: expected 1 to {MAX_GAP_BITS} gap bits, got {gap_bits}")
    size, start = take_varint(payload, at)
    _, end = take_bytes(payload, start, size, "gaps")
    return entries, gap_bits, start, end
