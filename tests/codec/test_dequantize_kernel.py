"""The last steps of decoding: the weights of levels, and their positions in the tensor."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import transform as transform_twin
from twins import trellis as trellis_twin

from wcodec.codec.dequantization import TransformDequantizer, UniformDequantizer
from wcodec.codec.layout import distances_of, from_rows, layout_families, scatter_rows, to_rows, view_shape
from wcodec.codec.quantizers.transform import KLT, Basis
from wcodec.kernels import dequantize as kernel

RNG = np.random.default_rng(5)
ADVERSARIAL = {
    "nothing": [],
    "all zero": [0] * 40,
    "a single one": [0] * 17 + [1] + [0] * 9,
    "alternating": [1, -1] * 30,
    "the largest": [(1 << 30) - 1, -(1 << 30) + 1] * 8,
    "random": RNG.integers(-9, 10, 500).tolist(),
}


def integers(levels: list[int], states: int) -> list[int]:
    return trellis_twin.reconstruct(levels, states) if states else levels


@pytest.mark.parametrize("states", [0, 4, 8, 128])
@pytest.mark.parametrize("levels", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_a_weight_is_one_rounded_product(levels: list[int], states: int) -> None:
    for kind, step in product((np.float32, np.float64), (0.25, 0.0123, 3e-30)):
        out = np.empty(len(levels), kind)
        kernel.scale(np.array(levels, np.int32), states, step, out)
        assert out.tolist() == [float(kind(float(q) * step)) for q in integers(levels, states)]


@given(
    st.sampled_from([1, 2, 9, 16, 25, 64]),
    st.sampled_from([0, 4, 8, 128]),
    st.sampled_from([1.0, 300.0, 1e6]),
    st.integers(0, 2**32 - 1),
)
def test_transformed_kernels_equal_those_of_the_twin(taps: int, states: int, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.rint(rng.laplace(size=7 * taps) * size).astype(np.int32)
    matrix = rng.integers(-32768, 32769, (taps, taps))
    kernels = np.array(integers(levels.tolist(), states)).reshape(1, 7, taps)
    exact = np.array(transform_twin.inverse(kernels.tolist(), matrix.tolist()), np.float64).reshape(-1)
    for kind in (np.float32, np.float64):
        out = np.empty(levels.size, kind)
        kernel.turn(levels, states, matrix.astype(np.float64), 0.0123 / 128, out)
        assert np.array_equal(out, (exact * (0.0123 / 128)).astype(kind))


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
@pytest.mark.parametrize("shape", [(6, 35), (3, 3, 5, 20), (40, 4, 3), (2, 2, 2, 3, 5)], ids=str)
def test_rows_placed_in_parts_equal_rows_placed_at_once(shape: tuple[int, ...], dtype: str) -> None:
    values = RNG.normal(size=shape).astype(dtype)
    for layout in range(1, 8):
        if len(shape) < 3 and layout in {3, 4, 5, 6}:
            continue
        rows, back = to_rows(values, layout), np.zeros_like(values)
        for first in range(0, len(rows), 3):
            scatter_rows(rows[first : first + 3], back, first, layout)
        assert np.array_equal(back, values)
        assert np.array_equal(from_rows(rows, shape, layout), values)


def test_rows_that_do_not_fit_are_refused() -> None:
    rows, out = np.zeros((2, 3, 4), np.uint32), np.zeros(24, np.uint32)
    for first, row, channel, tap in ((1, 12, 4, 1), (0, 13, 4, 1), (0, 12, 12, 1), (-1, 12, 4, 1), (0, 12, 4, -1)):
        with pytest.raises(IndexError):
            kernel.place(rows, out, first, row, channel, tap)
    with pytest.raises(ValueError, match="basis"):
        kernel.turn(np.zeros(10, np.int32), 0, np.zeros((9, 9)), 1.0, np.empty(10, np.float32))


@pytest.mark.parametrize("shape", [(40, 30), (3, 3, 5, 40), (33, 4, 3, 3), (17, 700), (2, 100, 3), (1, 5, 5, 7, 18)])
@pytest.mark.parametrize("turned", [False, True])
def test_dequantization_in_one_pass_equals_the_single_steps(shape: tuple[int, ...], turned: bool) -> None:
    layouts = [layout for family in layout_families(shape) for layout in family]
    for layout in layouts:
        rows, channels, taps = view_shape(shape, layout)
        levels = np.rint(RNG.laplace(size=(rows, channels, taps)) * 40).astype(np.int32)
        basis = taps if taps > 1 else channels
        matrix = RNG.integers(-200, 200, (basis, basis))
        rule = TransformDequantizer(0.37, Basis(matrix, 7, KLT)) if turned else UniformDequantizer(0.37)
        expected, found = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        start = rows // 3
        own = np.ascontiguousarray(levels[start:])
        scatter_rows(rule.dequantize(own, True).astype(np.float32, copy=False), expected, start, layout)
        distances = distances_of(shape, layout)
        assert distances is not None
        rule.put(own, found.reshape(-1), start, distances)
        assert np.array_equal(found, expected)


def test_rows_that_do_not_fit_are_refused_in_one_pass() -> None:
    levels, none = np.zeros((4, 3, 2), np.int32), np.empty((0, 0))
    for first, distances in ((1, (6, 2, 1)), (0, (7, 2, 1)), (0, (2, 8, 4)), (-1, (6, 2, 1)), (0, (6, -2, 1))):
        with pytest.raises(IndexError):
            kernel.put(levels, none, 1.0, np.zeros(24, np.float32), first, *distances)
    with pytest.raises(ValueError, match="basis"):
        kernel.put(levels, np.zeros((3, 3)), 1.0, np.zeros(24, np.float32), 0, 6, 2, 1)
