"""The statistics of one pass over all weights, against numpy; equal tensors; tensors with gaps."""

from __future__ import annotations

import numpy as np
import pytest
from attack.small_models import weights
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wcodec.codec.entropy.level_coders import LEVEL_CODERS, encode_chunk
from wcodec.codec.layout import KERNEL, to_rows
from wcodec.codec.statistics import find_outliers, measure_tensor, scan_tensor, scan_tensors, sum_of_squares
from wcodec.kernels import statistics as kernel
from wcodec.model import Tensor

FLOATS = hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32) | st.sampled_from([0.0, -1.0, 1e30]))
LARGEST = float(np.finfo(np.float32).max)


def tensor(values: np.ndarray) -> Tensor:
    return Tensor("w", values.dtype.name, values.shape, "", False, lambda: values)


@given(FLOATS, st.sampled_from([LARGEST, 1.0, 0.0]))
def test_statistics_equal_those_of_numpy(values: np.ndarray, limit: float) -> None:
    found = np.empty(4)
    kernel.describe(values, limit, found)
    regular = values[np.abs(values) <= limit]
    extremes = [regular.min(), regular.max()] if regular.size else [0, 0]
    assert found[:3].tolist() == [regular.size, *extremes]
    assert found[3] == pytest.approx(np.square(regular, dtype=np.float64).sum(), rel=1e-14)
    assert find_outliers(values, limit).tolist() == np.flatnonzero(~(np.abs(values) <= limit)).tolist()
    assert sum_of_squares(values) == pytest.approx(
        np.square(values[np.isfinite(values)], dtype=np.float64).sum(), rel=1e-14
    )


@given(FLOATS, st.floats(0, width=32))
def test_counts_and_squared_differences_equal_those_of_numpy(values: np.ndarray, bound: float) -> None:
    assert kernel.count_within(values, bound) == np.count_nonzero(np.abs(values) <= np.float32(bound))
    finite = np.clip(values[np.isfinite(values)], -1e30, 1e30)
    other = finite[::-1].copy()
    expected = np.square(finite - other, dtype=np.float64).sum()
    assert kernel.distance(finite, other) == pytest.approx(expected, rel=1e-14)


def test_rows_outside_the_values_are_refused() -> None:
    values, rows = np.zeros(23, np.uint32), np.zeros((2, 3, 4), np.uint32)
    for row, channel, tap in ((12, 4, 1), (-12, 4, 1)):
        with pytest.raises(IndexError):
            kernel.take(values, rows, row, channel, tap)
    with pytest.raises(ValueError, match="sizes"):
        kernel.distance(np.zeros(3, np.float32), np.zeros(4, np.float32))


def test_gathered_rows_equal_a_transpose_by_numpy() -> None:
    values = weights(1, 3, 5, 17, 33)
    expected = values.transpose(3, 2, 0, 1).reshape(33, 17, 15)
    for kind in (np.float32, np.float16, np.float64):
        assert np.array_equal(to_rows(values.astype(kind), KERNEL), expected.astype(kind))
    assert np.array_equal(to_rows(values[:, ::-1], KERNEL), values[:, ::-1].transpose(3, 2, 0, 1).reshape(33, 17, 15))


@pytest.mark.parametrize("outlier", [1.0, 30.0, 300.0, 3000.0, 1e30])
@pytest.mark.parametrize("zeros", [0.0, 0.4, 0.9])
def test_outliers_are_detected_by_the_median_of_the_nonzero_weights(outlier: float, zeros: float) -> None:
    values = weights(2, 90, 100)
    values.reshape(-1)[: int(zeros * values.size)] = 0
    values[-1, -1] = outlier
    magnitudes = np.sort(np.abs(values[values != 0]))
    bound = 4096.0 * float(magnitudes[magnitudes.size // 2])
    found = measure_tensor(tensor(values), values)
    assert found.in_range == np.count_nonzero(np.abs(values) <= bound)
    assert found.high == values[np.abs(values) <= bound].max()


def test_large_tensors_that_differ_in_one_weight_have_different_fingerprints() -> None:
    one = weights(3, 300, 400)
    other = one.copy()
    other[123, 45] += np.float32(1)
    first, second, third, last = scan_tensors([tensor(v) for v in (one, other, one.copy(), one.reshape(400, 300))], 1)
    assert first.fingerprint == third.fingerprint != second.fingerprint
    assert scan_tensor(tensor(one)).fingerprint == scan_tensor(tensor(other)).fingerprint == last.fingerprint


def test_the_smaller_of_dense_and_sparse_coding_is_used() -> None:
    rng = np.random.default_rng(4)
    for density in (0.3, 0.45, 0.55, 0.7, 0.95):
        for clustered in (False, True):
            levels = np.rint(rng.laplace(size=(300, 200, 1)) * 3).astype(np.int32)
            levels += levels == 0
            levels[np.broadcast_to(rng.random((300, 1 if clustered else 200)) > density, (300, 200))] = 0
            size = min(len(LEVEL_CODERS[name].encode(levels, 0, "normal")) for name in ("dense", "sparse"))
            assert len(encode_chunk(levels, 0, ("dense", "sparse"), "normal")) == 1 + size
