"""Streams of symbols: round trips, sizes, and payloads with wrong counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from twins import symbols as twin

from wcodec.codec.entropy import dense, symbols, zstd
from wcodec.errors import ContainerError, CorruptError, TruncatedError, UnsupportedError
from wcodec.kernels import symbols as kernel

U32 = npt.NDArray[np.uint32]
rng = np.random.default_rng(20)
STREAMS: dict[str, U32] = {
    "none": np.zeros(0, np.uint32),
    "one": np.array([5], np.uint32),
    "constant": np.full(3000, 2**31 - 2, np.uint32),
    "few": rng.geometric(0.5, 40).astype(np.uint32),
    "last unstreamed": rng.geometric(0.3, 1023).astype(np.uint32),
    "first streamed": rng.geometric(0.3, 1024).astype(np.uint32),
    "uneven": rng.geometric(0.3, 1025).astype(np.uint32),
    "uniform": rng.integers(0, 37, 2000).astype(np.uint32),
    "tiny steps": np.abs(rng.normal(0, 5000, 4000)).astype(np.uint32),
    "all of 31 bits": rng.integers(0, 2**31, 1500).astype(np.uint32),
    "two": np.array([0, 2**32 - 1] * 700, np.uint32),
    "period": np.tile(np.arange(50, dtype=np.uint32), 60),
}


def entropy_bytes(stream: U32) -> float:
    share = np.unique(stream, return_counts=True)[1] / len(stream)
    return float(-(share * np.log2(share)).sum() * len(stream) / 8)


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_is_decoded(name: str) -> None:
    stream = STREAMS[name]
    payload = symbols.encode(stream)
    np.testing.assert_array_equal(symbols.decode(payload, len(stream)), stream)
    assert symbols.encode(stream.copy()) == payload


@given(st.lists(st.integers(0, 2**32 - 1), max_size=60), st.sampled_from([1, 25]))
def test_any_symbols_are_decoded(values: list[int], repeats: int) -> None:
    stream = np.tile(np.array(values, np.uint32), repeats)
    np.testing.assert_array_equal(symbols.decode(symbols.encode(stream), len(stream)), stream)


@given(st.binary(max_size=200), st.sampled_from([1, 25]))
def test_any_bytes_are_decoded(values: bytes, repeats: int) -> None:
    stream = np.tile(np.frombuffer(values, np.uint8), repeats)
    decoded = np.empty_like(stream)
    symbols.decode_into(symbols.encode(stream), decoded)
    np.testing.assert_array_equal(decoded, stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_flipped_bit_or_an_early_end_raises_or_decodes_to_the_declared_shape(name: str) -> None:
    stream = STREAMS[name]
    payload = symbols.encode(stream)
    for at in {*range(min(len(payload), 60)), *range(0, len(payload), 97)}:
        for bit in range(8):
            flipped = bytearray(payload)
            flipped[at] ^= 1 << bit
            try:
                assert symbols.decode(bytes(flipped), len(stream)).shape == stream.shape
            except ContainerError:
                continue
        with pytest.raises(ContainerError):
            symbols.decode(payload[:at], len(stream))
    with pytest.raises(ContainerError):
        symbols.decode(payload + b"\0", len(stream))


@given(st.binary(max_size=80), st.sampled_from([1, 7, 1023, 1024, 5000]), st.sampled_from([np.uint8, np.uint32]))
def test_arbitrary_payloads_raise_or_decode(
    payload: bytes, count: int, symbol: type[np.uint8] | type[np.uint32]
) -> None:
    out = np.empty(count, symbol)
    for coder in range(4):
        try:
            symbols.decode_into(bytes((coder,)) + payload, out)
        except ContainerError:
            continue


def test_empty_and_constant_streams_take_a_few_bytes() -> None:
    assert symbols.encode(STREAMS["none"]) == b""
    assert symbols.encode(np.full(1000, 100, np.uint32)) == b"\x00\x64"


@pytest.mark.parametrize(("name", "slack"), [("first streamed", 1.06), ("tiny steps", 1.2), ("uniform", 1.04)])
def test_sizes_are_near_the_entropy(name: str, slack: float) -> None:
    assert len(symbols.encode(STREAMS[name])) <= slack * entropy_bytes(STREAMS[name]) + 20


def test_ten_thousand_distinct_symbols_take_little_more_than_their_entropy() -> None:
    sigma = 6000
    stream = np.abs(rng.normal(0, sigma, 200_000)).astype(np.uint32)
    ideal = len(stream) * (np.log2(sigma * np.sqrt(2 * np.pi * np.e)) - 1) / 8
    assert len(symbols.encode(stream)) < 1.01 * ideal


def test_periodic_symbols_are_coded_by_zstd() -> None:
    assert symbols.encode(STREAMS["period"])[0] == symbols.ZSTD
    assert len(symbols.encode(STREAMS["period"])) < 100


def test_an_error_names_an_unknown_coder() -> None:
    with pytest.raises(UnsupportedError, match="got 9"):
        symbols.decode(b"\x09\x00", 4)


def test_a_zstd_frame_that_declares_another_size_is_refused_before_it_is_opened() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(1 << 20))[4:]
    with pytest.raises(CorruptError):
        zstd.decode(frame, 1000)
    with pytest.raises(CorruptError):
        zstd.decode(zstd.encode(bytes(1 << 20), 3), 1000)


def test_levels_beyond_the_largest_are_corrupt() -> None:
    with pytest.raises(CorruptError, match="levels"):
        dense.decode(symbols.encode(np.array([2**31 - 1, 3], np.uint32)), (1, 2, 1))


@given(st.lists(st.integers(-(2**30) + 1, 2**30 - 1), min_size=6, max_size=6))
def test_dense_levels_are_decoded(values: list[int]) -> None:
    levels = np.array(values, np.int32).reshape(1, 3, 2)
    payload = dense.encode(levels)
    np.testing.assert_array_equal(dense.decode(payload, (1, 3, 2)), levels)


def test_a_constant_stream_with_trailing_bytes_is_corrupt() -> None:
    with pytest.raises(CorruptError):
        symbols.decode(b"\x00\x05\x05", 3)
    with pytest.raises(TruncatedError):
        symbols.decode(b"\x00", 3)


@given(st.integers(1, 32), st.lists(st.integers(0, 2**32 - 1), max_size=40))
def test_packing_equals_that_of_the_twin(bits: int, values: list[int]) -> None:
    stream = np.array(values, np.uint32) & np.uint32(2**bits - 1)
    packed = np.zeros((len(stream) * bits + 7) // 8, np.uint8)
    kernel.pack(stream, bits, packed)
    assert packed.tobytes() == twin.pack(stream.tolist(), bits)
    unpacked = np.empty_like(stream)
    assert kernel.unpack(packed, bits, unpacked) == 0
    np.testing.assert_array_equal(unpacked, stream)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40))
def test_zigzag_equals_that_of_the_twin(values: list[int]) -> None:
    levels = np.array(values, np.int32)
    zigzag = np.empty(len(levels), np.uint32)
    kernel.zigzag(levels, zigzag)
    assert zigzag.tolist() == [twin.zigzag(level) for level in values]
    back = np.empty_like(levels)
    kernel.unzigzag(zigzag, back)
    np.testing.assert_array_equal(back, levels)


def test_the_example_of_the_specification_decodes() -> None:
    assert symbols.decode(bytes.fromhex("02018f003202"), 8).tolist() == [0, 1, 0, 2, 0, 0, 0, 1]
    assert symbols.encode(np.array([0, 1, 0, 2, 0, 0, 0, 1], np.uint32)) == bytes.fromhex("01028440")
