"""Fixed fields: the package and the reference decoder read what was written, in the fewest bits."""

from __future__ import annotations

import numpy as np
import pytest
from reference_fields import fields as by_the_page

from wcodec.codec.entropy import fixed_fields
from wcodec.errors import ContainerError, CorruptError, TruncatedError


def levels_of(shape: tuple[int, int, int], kept: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.rint(rng.standard_t(2, shape) * 3 + 1) * (rng.random(shape) < kept)).astype(np.int32)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 1), (20, 30, 4), (100, 90, 1)])
@pytest.mark.parametrize("kept", [0.0, 0.05, 0.5, 1.0])
def test_the_reader_and_the_specification_decode_the_levels(shape: tuple[int, int, int], kept: float) -> None:
    levels = levels_of(shape, kept)
    payload = fixed_fields.encode(levels)
    assert np.array_equal(fixed_fields.decode(payload, shape), levels)
    assert by_the_page(payload, levels.size) == levels.reshape(-1).tolist()


def test_the_largest_levels_have_31_bits() -> None:
    levels = np.array([[[2**30 - 1], [-(2**30) + 1]]], np.int32)
    payload = fixed_fields.encode(levels)
    assert fixed_fields.parse_fields(payload, 2)[0].code_bits == 31
    assert np.array_equal(fixed_fields.decode(payload, (1, 2, 1)), levels)


def test_the_encoder_writes_the_example_of_the_specification() -> None:
    assert fixed_fields.encode(np.array([[[0], [0], [3], [0], [-1]]], np.int32)) == bytes.fromhex("02020301060c")


def test_the_bits_of_a_code_depend_on_the_size_of_the_codebook_alone() -> None:
    for negatives in (0, 3, 15, 31):
        levels = np.arange(-negatives, 32 - negatives, dtype=np.int32).repeat(9).reshape(1, -1, 1)
        assert fixed_fields.parse_fields(fixed_fields.encode(levels), levels.size)[0].code_bits == 5


def test_dense_levels_have_no_gaps_and_sparse_levels_have_fillers_if_that_is_smaller() -> None:
    dense = fixed_fields.parse_fields(fixed_fields.encode(levels_of((10, 100, 1), 1.0) | 1), 1000)[0]
    assert (dense.gap_bits, dense.entries) == (0, 1000)
    levels = levels_of((100, 100, 1), 0.05)
    sparse = fixed_fields.parse_fields(fixed_fields.encode(levels), levels.size)[0]
    assert 3 <= sparse.gap_bits <= 6
    assert sparse.entries > np.count_nonzero(levels)


def test_a_truncated_or_changed_payload_is_refused_or_gives_other_levels() -> None:
    levels = levels_of((8, 20, 1), 0.2)
    payload = fixed_fields.encode(levels)
    for size in range(len(payload)):
        with pytest.raises((TruncatedError, CorruptError)):
            fixed_fields.decode(payload[:size], levels.shape)
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        try:
            found = fixed_fields.decode(bytes(damaged), levels.shape)
        except ContainerError:
            continue
        assert not np.array_equal(found, levels)
