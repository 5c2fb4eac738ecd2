"""Relative indices: round trips with every gap size, and payloads with wrong entries."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import sparse as twin

from wcodec.codec.entropy import sparse, symbols
from wcodec.errors import ContainerError, CorruptError

Levels = st.lists(st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1, 7, -300]), min_size=1, max_size=200)


def some_levels(density: float, shape: tuple[int, int, int] = (8, 120, 9)) -> sparse.Levels:
    rng = np.random.default_rng(int(density * 1000))
    return (rng.integers(-15, 16, shape) * (rng.random(shape) < density)).astype(np.int32)


@pytest.mark.parametrize("density", [0, 0.0005, 0.01, 0.1, 0.9, 1])
def test_sparse_levels_are_decoded(density: float) -> None:
    levels = some_levels(density)
    payload = sparse.encode(levels)
    np.testing.assert_array_equal(sparse.decode(payload, levels.shape), levels)


@given(Levels, st.integers(1, 8))
def test_entries_equal_those_of_the_twin(values: list[int], gap_bits: int) -> None:
    flat = np.array(values, np.int32)
    runs = np.zeros(len(flat), np.uint32)
    runs = runs[: sparse.kernel.zero_runs(flat, runs)]
    gaps, codes = sparse.sparsify(flat, runs, gap_bits)
    assert (gaps.tolist(), codes.tolist()) == twin.sparsify(values, gap_bits)
    assert sparse.densify(gaps, codes, gap_bits, len(flat)).tolist() == values
    assert twin.densify(gaps.tolist(), codes.tolist(), len(values)) == values


def test_the_chosen_gap_bits_are_the_best_of_all() -> None:
    levels = some_levels(0.03).reshape(-1)
    runs = np.zeros(len(levels), np.uint32)
    runs = runs[: sparse.kernel.zero_runs(levels, runs)]
    sizes = {b: sum(len(symbols.encode(s)) for s in sparse.sparsify(levels, runs, b)) for b in range(1, 11)}
    assert sizes[sparse.choose_gap_bits(runs, levels)] <= min(sizes.values()) + 8


def test_a_single_survivor_after_many_zeros_takes_a_few_bytes() -> None:
    levels = np.zeros((1, 1_000_000, 1), np.int32)
    levels[0, 777_777, 0] = -5
    payload = sparse.encode(levels)
    assert len(payload) < 30
    np.testing.assert_array_equal(sparse.decode(payload, levels.shape), levels)


def test_a_flipped_bit_or_an_early_end_raises_or_decodes_to_the_shape() -> None:
    levels = some_levels(0.05)
    payload = sparse.encode(levels)
    for at in range(0, len(payload), 5):
        for bit in range(8):
            flipped = bytearray(payload)
            flipped[at] ^= 1 << bit
            try:
                assert sparse.decode(bytes(flipped), levels.shape).shape == levels.shape
            except ContainerError:
                continue
        with pytest.raises(ContainerError):
            sparse.decode(payload[:at], levels.shape)
    with pytest.raises(ContainerError):
        sparse.decode(payload + b"\0", levels.shape)


@given(st.binary(max_size=60))
def test_arbitrary_payloads_raise_or_decode(payload: bytes) -> None:
    with suppress(ContainerError):
        assert sparse.decode(payload, (2, 50, 3)).shape == (2, 50, 3)


@pytest.mark.parametrize(
    ("gaps", "codes"),
    [([0, 9], [2, 2]), ([4], [2]), ([2, 1], [0, 4]), ([0, 3], [2, 0]), ([0], [2**31])],
    ids=["beyond the end", "gap too long", "short filler", "filler last", "code too large"],
)
def test_invalid_entries_are_corrupt(gaps: list[int], codes: list[int]) -> None:
    bits = 4 if gaps[-1] == 9 else 2
    with pytest.raises(CorruptError, match="entry"):
        sparse.densify(np.array(gaps, np.uint32), np.array(codes, np.uint32), bits, 8)


def test_more_entries_than_weights_are_refused_before_allocation() -> None:
    with pytest.raises(CorruptError, match="entries"):
        sparse.decode(b"\xff\xff\xff\xff\xff\x7f\x04\x02\x00\x00\x00\x00", (1, 10, 1))
