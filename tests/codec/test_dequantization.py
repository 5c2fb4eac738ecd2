"""Rules: the weights of levels are exactly those of the specification, and parameters are read as written."""

from __future__ import annotations

import struct
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcodec.codec.dequantization import (
    DEQUANTIZERS,
    CodebookDequantizer,
    Dequantizer,
    GroupDequantizer,
    HashedDequantizer,
    PerRowDequantizer,
    TransformDequantizer,
    TruncatedFloatDequantizer,
    UniformDequantizer,
    parse_dequantizer,
)
from wcodec.codec.dequantizer_base import TensorContext
from wcodec.codec.layout import DENSE, KERNEL, VECTOR
from wcodec.codec.plan import FloatPlan
from wcodec.codec.quantization import choose_dequantizer, has_float_levels
from wcodec.codec.quantizers.kmeans import Codebook
from wcodec.codec.quantizers.transform import make_dct_basis
from wcodec.codec.tensor_header import NO_POSITIONS, TensorHeader, chunk_shape, pack_header, parse_header
from wcodec.container import wire
from wcodec.container.dtypes import from_float, round_step, to_float32
from wcodec.errors import CorruptError
from wcodec.model import TensorSpec

STEPS = st.floats(2.0**-126, 2.0**90, width=32)
LEVELS = st.lists(st.integers(-(1 << 30) + 1, (1 << 30) - 1), min_size=1, max_size=20)


def codebooks() -> st.SearchStrategy[Codebook]:
    """Ascending values around a zero."""
    values = st.lists(st.floats(2.0**-20, 1000, width=16).filter(bool), max_size=6, unique=True).map(sorted)
    return st.builds(
        lambda low, high: Codebook(len(low), np.array([-v for v in low[::-1]] + [0.0, *high], np.float32)),
        values,
        values,
    )


RULES = st.one_of(
    st.builds(CodebookDequantizer, codebooks()),
    st.builds(UniformDequantizer, STEPS, st.sampled_from([0, 4, 8, 128])),
    st.builds(TruncatedFloatDequantizer, st.integers(0, 23), st.integers(0, (1 << 31) - 1)),
    st.builds(lambda step, sides, states: TransformDequantizer(step, make_dct_basis(*sides), states), STEPS,
              st.sampled_from([(3, 3), (1, 5), (7, 2)]), st.sampled_from([0, 4, 8, 128])),
    st.builds(lambda step, codebook, group: GroupDequantizer(group, codebook,
                                                             np.full((30, -(-20 // group)), step, np.float32)),
              STEPS, codebooks(), st.integers(1, 20)),
    st.builds(lambda step, seed, buckets: HashedDequantizer(step, seed, buckets, 30, 20),
              STEPS, st.integers(0, 2**32 - 1), st.integers(1, 599)),
    st.builds(lambda step, short: PerRowDequantizer(np.geomspace(step, step * 1000, 30, dtype=np.float32)
                                       if not short else np.full(30, round_step(step), np.float32)),
              STEPS, st.booleans()),
)  # fmt: skip


def array(levels: list[int]) -> np.ndarray:
    return np.array(levels, np.int32).reshape(1, -1, 1)


@given(RULES)
def test_the_parameters_of_a_rule_are_read_as_written(rule: Dequantizer) -> None:
    packed = bytearray(b"before")
    rule.pack(packed)
    taps = len(rule.basis.matrix) if isinstance(rule, TransformDequantizer) else 1
    back, at = parse_dequantizer(
        memoryview(bytes(packed) + b"behind"), 6, rule.number, TensorContext(rule.states, taps, 30, 20)
    )
    assert at == len(packed) == wire.skip_fields(bytes(packed) + b"behind", 6, rule.number)
    again = bytearray()
    back.pack(again)
    assert again == packed[6:]
    assert type(back) is type(rule)
    assert back.states == rule.states


def test_the_table_of_fields_has_every_rule() -> None:
    assert wire.FIELDS.keys() == {wire.EXACT, *DEQUANTIZERS}


@given(LEVELS, STEPS, st.booleans())
def test_a_step_multiplies_and_rounds_once(levels: list[int], step: float, single: bool) -> None:
    dtype = "float32" if single else "float64"
    got = from_float(UniformDequantizer(step).dequantize(array(levels), single), dtype).reshape(-1)
    for level, value in zip(levels, got, strict=True):
        double = level * step  # exact to double precision: one rounding
        assert value == (np.float32(double) if single else np.float64(double))
        assert abs(Fraction(level) * Fraction(step) - Fraction(double)) <= abs(Fraction(double)) * Fraction(2) ** -52


@given(LEVELS, STEPS, st.booleans())
def test_every_row_has_its_own_step(levels: list[int], step: float, single: bool) -> None:
    rule = PerRowDequantizer(np.array([step, 3 * step, 5 * step], np.float32))
    rows = np.broadcast_to(array(levels), (3, len(levels), 1)).copy()
    dtype = "float32" if single else "float64"
    got = from_float(rule.dequantize(rows, single), dtype)
    for number in range(3):
        alone = UniformDequantizer(float(rule.steps[number])).dequantize(rows[number : number + 1], single)
        assert np.array_equal(got[number : number + 1], from_float(alone, dtype))
        chunk = rule.for_rows(number, 1).dequantize(rows[number : number + 1], single)
        assert np.array_equal(got[number : number + 1], from_float(chunk, dtype))


@given(codebooks())
def test_a_table_gives_the_value_of_a_level_and_level_0_is_0(codebook: Codebook) -> None:
    levels = np.arange(len(codebook.values), dtype=np.int32) - codebook.negatives
    got = CodebookDequantizer(codebook).dequantize(levels.reshape(1, -1, 1), True).reshape(-1)
    assert np.array_equal(got, codebook.values)
    assert got[codebook.negatives] == 0.0


@pytest.mark.parametrize("level", [-2, 3, 1 << 29, -(1 << 29)])
def test_a_level_outside_the_table_is_corrupt(level: int) -> None:
    rule = CodebookDequantizer(Codebook(1, np.array([-1.0, 0.0, 0.5, 2.0], np.float32)))
    with pytest.raises(CorruptError):
        rule.dequantize(array([level]), True)


@given(st.floats(width=32, allow_nan=False), st.integers(0, 23), st.integers(0, 1000))
def test_dropped_bits_are_the_only_loss_of_the_float_rule(value: float, shift: int, offset: int) -> None:
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    magnitude = (bits & 0x7FFFFFFF) >> shift
    if magnitude > offset:
        level = offset - magnitude if bits >> 31 else magnitude - offset
        got = TruncatedFloatDequantizer(shift, offset).dequantize(array([level]), True).reshape(-1)[0]
        assert struct.unpack("<I", struct.pack("<f", got))[0] == bits >> shift << shift


def test_level_0_of_the_float_rule_is_0() -> None:
    assert TruncatedFloatDequantizer(3, 12345).dequantize(array([0, 0]), True).tobytes() == bytes(8)


def test_a_float_of_more_than_31_bits_is_corrupt() -> None:
    with pytest.raises(CorruptError, match="magnitude"):
        TruncatedFloatDequantizer(22, 0).dequantize(array([512]), True)
    with pytest.raises(CorruptError, match="magnitude"):
        TruncatedFloatDequantizer(0, 1 << 30).dequantize(array([1 << 30]), True)


def test_the_float_rule_of_a_large_tensor_is_found_in_less_memory_than_the_tensor() -> None:
    weights = np.zeros((16, 1 << 20), np.float32)
    weights[[3, 7, 11], [5, 0, 9]] = -0.75, 0.5, 2.0
    tracemalloc.start()
    try:
        _, rule = choose_dequantizer(weights, FloatPlan())
        fits = has_float_levels(weights)
        assert tracemalloc.get_traced_memory()[1] < weights.nbytes
    finally:
        tracemalloc.stop()
    assert fits
    assert rule == TruncatedFloatDequantizer(0, int(np.float32(0.5).view(np.int32)) - 1)


@given(STEPS)
def test_a_rounded_step_takes_three_bytes_and_is_near(step: float) -> None:
    rounded = round_step(step)
    packed = bytearray()
    UniformDequantizer(rounded).pack(packed)
    assert len(packed) <= 3
    assert abs(rounded - step) <= 2**-8 * step


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=50))
def test_bfloat16_is_the_upper_half_of_float32_and_rounds_to_even(bits: list[int]) -> None:
    values = np.array(bits, np.uint16)
    wide = to_float32(values, "bfloat16")
    finite = np.isfinite(wide)
    assert np.array_equal(from_float(wide[finite], "bfloat16"), values[finite])
    below = wide[finite & (np.abs(wide) < 3e38) & (np.abs(wide) > 1e-30)].view(np.uint32)
    for offset, up in ((0x7FFF, 0), (0x8001, 1)):
        assert np.array_equal(from_float((below + np.uint32(offset)).view(np.float32), "bfloat16"), (below >> 16) + up)
    half = from_float((below + np.uint32(0x8000)).view(np.float32), "bfloat16")
    assert not (half & 1).any()


MATRIX, CONV = TensorSpec("m", "float32", (40, 30)), TensorSpec("c", "float16", (3, 3, 8, 30))


@given(RULES, st.sets(st.integers(0, 1199), max_size=10), st.sampled_from([1, 3]))
def test_a_header_is_read_as_written(rule: Dequantizer, positions: set[int], chunks: int) -> None:
    conv = isinstance(rule, TransformDequantizer)
    if conv and len(rule.basis.matrix) != 9:
        return
    facts, layout = (
        (CONV, KERNEL) if conv else (MATRIX, VECTOR if isinstance(rule, TruncatedFloatDequantizer) else DENSE)
    )
    units = facts.count if layout == VECTOR else 30
    chunks = 1 if isinstance(rule, HashedDequantizer) else chunks  # its levels are one section
    where = np.array(sorted(positions), np.int64) if positions else NO_POSITIONS
    item = 2 if conv else 4
    patches = np.arange(len(where) * item, dtype=np.uint8).reshape(-1, item)
    head = TensorHeader(rule, layout, units // chunks, where, patches)
    packed = pack_header(facts, head, chunks)
    back, start = parse_header(facts, memoryview(packed + b"chunk"), chunks)
    assert start == len(packed)
    assert (back.layout, back.chunk_units) == (layout, units // chunks)
    assert np.array_equal(back.positions, where)
    assert np.array_equal(back.outlier_bytes, patches)
    assert pack_header(facts, back, chunks) == packed
    shapes = [chunk_shape(facts, back, i) for i in range(chunks)]
    assert sum(rows * channels * taps for rows, channels, taps in shapes) == facts.count
