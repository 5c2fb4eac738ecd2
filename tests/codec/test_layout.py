"""Layouts: any tensor as rows, channels and taps, and the inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcodec.codec.layout import (
    VECTOR,
    check_layout,
    count_units,
    from_rows,
    kernel_size,
    layout_families,
    slice_rows,
    to_rows,
    view_shape,
)
from wcodec.errors import CorruptError

SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)
LAYOUTS = st.integers(0, 7)


def fits(shape: tuple[int, ...], layout: int) -> bool:
    """Whether the specification's table allows the layout for the shape."""
    return len(shape) >= {0: 0, 1: 2, 2: 2, 3: 3, 4: 3, 5: 3, 6: 3, 7: 2}[layout]


def obvious(values: np.ndarray, layout: int) -> np.ndarray:
    """The table of the specification, as moves of axes."""
    s = values.shape
    if layout == 0:
        return values.reshape(1, -1, 1)
    if layout in (3, 4):
        kernel = values.reshape(math.prod(s[:-2]), s[-2], s[-1])
        return kernel.transpose(2, 1, 0) if layout == 3 else kernel.transpose(1, 2, 0)
    if layout in (5, 6):
        kernel = values.reshape(s[0], s[1], math.prod(s[2:]))
        return kernel if layout == 5 else kernel.transpose(1, 0, 2)
    last_first = np.moveaxis(values, -1, 0).reshape(s[-1], math.prod(s[:-1]), 1)
    matrix = values.reshape(s[0], math.prod(s[1:]), 1)
    return {1: matrix, 2: last_first, 7: matrix.transpose(1, 0, 2)}[layout]


@given(SHAPES, LAYOUTS)
def test_spread_follows_the_specification_and_gather_is_its_inverse(shape: tuple[int, ...], layout: int) -> None:
    if not fits(shape, layout):
        with pytest.raises(CorruptError, match="layout"):
            check_layout(shape, layout)
        return
    check_layout(shape, layout)
    values = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    view = to_rows(values, layout)
    assert view.shape == view_shape(shape, layout)
    assert view.flags.c_contiguous
    assert np.array_equal(view, obvious(values, layout))
    back = from_rows(view, shape, layout)
    assert back.shape == shape
    assert back.flags.c_contiguous
    assert np.array_equal(back, values)


@given(SHAPES, LAYOUTS)
def test_units_and_taps_follow_from_the_view(shape: tuple[int, ...], layout: int) -> None:
    if fits(shape, layout):
        rows, channels, taps = view_shape(shape, layout)
        assert count_units(shape, layout) == (channels if layout == VECTOR else rows)
        if layout in (3, 4, 5, 6):
            assert math.prod(kernel_size(shape, layout)) == taps


@given(SHAPES)
def test_the_encoder_tries_only_layouts_that_fit(shape: tuple[int, ...]) -> None:
    for layout in (layout for family in layout_families(shape) for layout in family):
        check_layout(shape, layout)


@pytest.mark.parametrize("layout", [-1, 8, 255])
def test_a_layout_from_the_future_is_refused(layout: int) -> None:
    with pytest.raises(CorruptError, match=str(layout)):
        check_layout((2, 3, 4, 5), layout)


@given(SHAPES.filter(lambda shape: math.prod(shape) > 0), LAYOUTS, st.integers(0, 3), st.integers(1, 3))
def test_a_selection_of_rows_equals_those_of_the_whole(
    shape: tuple[int, ...], layout: int, start: int, count: int
) -> None:
    if fits(shape, layout):
        values = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
        every = to_rows(values, layout)
        assert (
            np.array_equal(slice_rows(values, layout, start, count), every[start : start + count]) or layout == VECTOR
        )
