"""Weights in steps, and the levels next to them, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wcodec.kernels import rounding as kernel

Floats = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))


@given(Floats, st.floats(2**-40, 2**40, width=32))
def test_weights_are_divided_by_the_step_and_limited_and_nan_becomes_0(values: np.ndarray, step: float) -> None:
    found = np.empty_like(values)
    with np.errstate(all="ignore"):
        expected = np.clip(np.nan_to_num(values / np.float32(step)), -1000, 1000)
    assert kernel.divide(values, step, 1000, found) == np.abs(expected).max(initial=0)
    assert np.array_equal(found, expected)


@given(
    hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(-(2**28), 2**28, width=32)),
    st.sampled_from([0.5, 1.0]),
    st.floats(0, 0.75, width=32),
)
def test_levels_have_the_rounded_down_magnitude_and_the_sign(values: np.ndarray, scale: float, offset: float) -> None:
    found = np.empty(len(values), np.int32)
    kernel.to_levels(values, scale, offset, found)
    magnitudes = np.floor(np.abs(values) * np.float32(scale) + np.float32(offset))
    assert np.array_equal(found, (np.sign(values) * magnitudes).astype(np.int32))


def test_results_of_another_size_are_refused() -> None:
    values = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="sizes"):
        kernel.divide(values, 1, 1, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="sizes"):
        kernel.to_levels(values, 1, 0, np.zeros(2, np.int32))
