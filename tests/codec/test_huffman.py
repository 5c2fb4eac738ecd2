"""Huffman codes against bitarray, package-merge in Python, and a reader of single bits."""

from __future__ import annotations

import numpy as np
import pytest
from bitarray import bitarray
from bitarray.util import canonical_decode, canonical_huffman
from hypothesis import given
from hypothesis import strategies as st
from twins import huffman as twin

from wcodec.codec.entropy import huffman
from wcodec.container.wire import take_varint
from wcodec.errors import ContainerError
from wcodec.kernels.huffman import code as code_kernel

Counts = st.lists(st.integers(0, 10**6), min_size=2, max_size=300).filter(lambda c: sum(x > 0 for x in c) >= 2)


def lengths_for(counts: list[int]) -> list[int]:
    m = len(counts)
    lengths = np.zeros(m, np.uint8)
    sums, leaf = np.zeros((2, 2 * m), np.int64), np.zeros((12, 2 * m), np.uint8)
    code_kernel.code_lengths(np.sort(np.array(counts, np.int64)), 12, lengths, sums, leaf)
    return [int(length) for length in lengths]


@given(Counts)
def test_codes_are_complete_limited_and_optimal(counts: list[int]) -> None:
    used = sorted(c for c in counts if c)
    lengths = lengths_for(used)
    assert sum(2**-length for length in lengths) == 1
    assert max(lengths) <= 12
    bits = sum(c * length for c, length in zip(used, lengths, strict=True))
    assert bits == twin.best_bits(used)


@given(Counts)
def test_codes_without_a_limit_are_as_long_as_those_of_bitarray(counts: list[int]) -> None:
    used = sorted(c for c in counts if c)
    words, _, _ = canonical_huffman(dict(enumerate(used)))
    if max(map(len, words.values())) <= 12:
        lengths = lengths_for(used)
        assert sum(c * n for c, n in zip(used, lengths, strict=True)) == sum(
            c * len(words[k]) for k, c in enumerate(used)
        )


@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 40), min_size=1, max_size=200))
def test_no_other_precision_has_a_smaller_code(values: list[int]) -> None:
    counts = huffman.count_tokens(np.array(values, np.uint32))
    used = np.flatnonzero(counts)
    first, _ = huffman.symbols_of(used, huffman.FINEST)
    codes = []
    for precision in range(min(huffman.FINEST, max(int(first[-1]).bit_length() - 1, 0)), -1, -1):
        tokens = huffman.tokens_of(first, precision)
        codes.append(huffman._build_code(np.bincount(tokens, weights=counts[used]).astype(np.int64), precision))
    found = [code for code in codes if code]
    own = huffman.build_code(counts)
    if not found:
        assert own is None
        return
    best = min(found, key=lambda code: code.nbytes)
    assert own is not None
    assert (own.precision, own.table, own.bits) == (best.precision, best.table, best.bits)


@given(Counts)
def test_tables_are_read_as_written_and_equal_when_read_bit_by_bit(counts: list[int]) -> None:
    code = huffman.build_code(np.array(counts, np.int64))
    if code is None:
        return
    assert twin.read_lengths(code.table) == (code.lengths.tolist(), len(code.table))
    lengths = np.zeros(len(code.lengths) + 5, np.uint8)
    used, tokens = code_kernel.read_table(np.frombuffer(code.table + b"\xff", np.uint8), lengths)
    assert used == len(code.table)
    assert lengths[:tokens].tolist() == code.lengths.tolist()


@pytest.mark.parametrize("count", [50, 1023, 1024, 1027, 4000])
def test_the_bitstreams_decode_with_bitarray_alone(count: int) -> None:
    symbols = np.random.default_rng(count).geometric(0.3, count).astype(np.uint32)
    code = huffman.build_code(huffman.count_tokens(symbols))
    assert code is not None
    payload = huffman.encode(symbols, code)
    precision, at = payload[0], 1
    lengths, used = twin.read_lengths(payload[1:])
    at += used
    streams = 4 if count >= 1024 else 1
    sizes = []
    for _ in range(streams - 1):
        size, at = take_varint(payload, at)
        sizes.append(size)
    per_length = [lengths.count(k) if k else 0 for k in range(13)]
    order = sorted((t for t, length in enumerate(lengths) if length), key=lambda t: (lengths[t], t))
    tokens: list[int] = []
    share = -(-count // streams)
    for k in range(streams):
        end = at + sizes[k] if k < streams - 1 else len(payload)
        bits = bitarray(endian="little")
        bits.frombytes(payload[at:end])
        decoder = canonical_decode(bits, per_length, order)
        tokens += [next(decoder) for _ in range(min(share, count - len(tokens)))]
        at = end
    assert tokens == [twin.token_of(int(s), precision) for s in symbols]


@given(st.integers(0, 2**32 - 1), st.integers(0, huffman.FINEST))
def test_tokens_and_raw_bits_determine_the_symbols(symbol: int, precision: int) -> None:
    token = huffman.tokens_of(np.array([symbol]), precision)
    assert token[0] == twin.token_of(symbol, precision)
    first, raw = huffman.symbols_of(token, precision)
    assert first[0] <= symbol < first[0] + (1 << int(raw[0]))


def test_a_table_of_32_symbols_takes_some_ten_bytes() -> None:
    stream = np.random.default_rng(3).geometric(0.15, 4000).clip(1, 32).astype(np.uint32)
    code = huffman.build_code(huffman.count_tokens(stream))
    assert code is not None
    assert len(code.table) <= 14


@given(st.binary(max_size=60), st.integers(1, 40))
def test_arbitrary_tables_raise_or_are_complete(payload: bytes, room: int) -> None:
    lengths = np.zeros(room, np.uint8)
    used, tokens = code_kernel.read_table(np.frombuffer(payload, np.uint8), lengths)
    if used >= 0:
        assert used <= len(payload)
        assert sum(2.0 ** -int(n) for n in lengths[:tokens] if n) == 1


def test_byte_symbols_refuse_tokens_of_wider_ones() -> None:
    stream = (np.arange(3000) % 700).astype(np.uint32) ** 2 % 700
    code = huffman.build_code(huffman.count_tokens(stream))
    assert code is not None
    with pytest.raises(ContainerError):
        huffman.decode(huffman.encode(stream, code), np.empty(len(stream), np.uint8))
