"""The layout of a tensor of any shape as levels[rows, channels, taps], and back: `formats/wcz.md` section 4."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wcodec.errors import CorruptError
from wcodec.kernels import dequantize as kernel
from wcodec.kernels import statistics as statistics_kernel

VECTOR, MATRIX, DENSE, KERNEL, KERNEL_BY_INPUT, KERNEL_FIRST, KERNEL_FIRST_BY_INPUT, PROJECTION = range(8)
TAPS_FIRST = frozenset({KERNEL, KERNEL_BY_INPUT})
"""Layouts in which the weights of each tap are contiguous."""
WITH_TAPS = TAPS_FIRST | {KERNEL_FIRST, KERNEL_FIRST_BY_INPUT}
Shape3 = tuple[int, int, int]
Value = TypeVar("Value", bound=np.generic)


@lru_cache
def _find_axis_groups(dims: int, layout: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The dimensions that form rows, channels and taps."""
    every = tuple(range(dims))
    last, inner = every[-1:], every[-2:-1]
    return {
        VECTOR: ((), every, ()),
        MATRIX: (every[:1], every[1:], ()),
        DENSE: (last, every[:-1], ()),
        KERNEL: (last, inner, every[:-2]),
        KERNEL_BY_INPUT: (inner, last, every[:-2]),
        KERNEL_FIRST: (every[:1], every[1:2], every[2:]),
        KERNEL_FIRST_BY_INPUT: (every[1:2], every[:1], every[2:]),
        PROJECTION: (every[1:], every[:1], ()),
    }[layout]


def check_layout(shape: tuple[int, ...], layout: int) -> None:
    """Raises: CorruptError if the shape has too few dimensions for the layout, or if there is no such layout."""
    needed = 0 if layout == VECTOR else 3 if layout in WITH_TAPS else 2
    if not VECTOR <= layout <= PROJECTION or len(shape) < needed:
        raise CorruptError(f"layout: expected one for {len(shape)} dimensions, got {layout}")


@lru_cache(256)
def view_shape(shape: tuple[int, ...], layout: int) -> Shape3:
    """(rows, channels, taps) of a tensor of `shape`."""
    rows, channels, taps = (math.prod(shape[d] for d in group) for group in _find_axis_groups(len(shape), layout))
    return rows, channels, taps


def kernel_size(shape: tuple[int, ...], layout: int) -> tuple[int, int]:
    """(height, width) of a kernel's taps; one-dimensional kernels have height 1."""
    extents = [shape[d] for d in _find_axis_groups(len(shape), layout)[2]]
    return math.prod(extents[:-1]), extents[-1]


def count_units(shape: tuple[int, ...], layout: int) -> int:
    """The number of units in which chunks are counted: elements of a vector, rows otherwise."""
    rows, channels, _ = view_shape(shape, layout)
    return channels if layout == VECTOR else rows


def to_rows(values: npt.NDArray[Value], layout: int) -> npt.NDArray[Value]:
    """values[shape] -> values[rows, channels, taps], C order. Inverse: `from_rows`."""
    order = [d for group in _find_axis_groups(values.ndim, layout) for d in group]
    shape, turned = view_shape(values.shape, layout), values.transpose(order)
    distances = distances_of(values.shape, layout)
    if turned.flags.c_contiguous or values.itemsize != 4 or not values.flags.c_contiguous or not distances:
        return np.ascontiguousarray(turned).reshape(shape)
    rows = np.empty(shape, np.uint32)
    statistics_kernel.take(values.reshape(-1).view(np.uint32), rows, *distances)
    return rows.view(values.dtype)


def slice_rows(values: npt.NDArray[Value], layout: int, start: int, count: int) -> npt.NDArray[Value]:
    """`to_rows(values, layout)[start : start + count]`, without the other rows if rows are positions on one axis."""
    rows = _find_axis_groups(values.ndim, layout)[0]
    if len(rows) != 1:
        return to_rows(values, layout)[start : start + count]
    before = (slice(None),) * rows[0]
    return to_rows(np.ascontiguousarray(values[(*before, slice(start, start + count))]), layout)


def unit_slicer(values: npt.NDArray[Value], layout: int) -> Callable[[int, int], npt.NDArray[Value]]:
    """A function of a start and a count of units that gives values[rows, channels, taps], as a view if they are
    contiguous.

    If units cannot be taken without converting everything, all values are converted here, once.
    """
    if layout == VECTOR:
        flat = values.reshape(-1)
        return lambda start, count: flat[start : start + count].reshape(1, -1, 1)
    if len(_find_axis_groups(values.ndim, layout)[0]) == 1:
        return partial(slice_rows, values, layout)
    whole = to_rows(values, layout)
    return lambda start, count: whole[start : start + count]


def from_rows(view: npt.NDArray[Value], shape: tuple[int, ...], layout: int) -> npt.NDArray[Value]:
    """view[rows, channels, taps] -> values[shape], C order. Inverse: `to_rows`."""
    order = [d for group in _find_axis_groups(len(shape), layout) for d in group]
    turned = view.reshape([shape[d] for d in order]).transpose(np.argsort(order))
    return np.ascontiguousarray(turned).reshape(shape)  # contiguous numpy arrays have at least one dimension


def scatter_rows(rows: npt.NDArray[Value], values: npt.NDArray[Value], first: int, layout: int) -> None:
    """Put rows[n, channels, taps], from row `first` on, into values[shape], C order: `from_rows` in parts."""
    shape = values.shape
    groups = _find_axis_groups(len(shape), layout)
    distances = distances_of(shape, layout)
    channels, taps = rows.shape[1:]
    if distances and distances[:2] == (channels * taps, taps) and (taps == 1 or distances[2] == 1):  # as they lie
        values.reshape(-1)[first * distances[0] :][: rows.size] = rows.reshape(-1)
        return
    if rows.itemsize == 4 and distances:
        kernel.place(np.ascontiguousarray(rows).view(np.uint32), values.reshape(-1).view(np.uint32), first, *distances)
        return
    order = [d for group in groups for d in group]
    view = values.transpose(order)
    inner = [shape[d] for d in order[len(groups[0]) :]]
    if len(groups[0]) == 1:
        view[first : first + len(rows)] = rows.reshape(len(rows), *inner)
        return
    # a row is a position on several axes
    for number, one in enumerate(rows.reshape(len(rows), *inner)):
        view[np.unravel_index(first + number, [shape[d] for d in groups[0]])] = one


def distances_of(shape: tuple[int, ...], layout: int) -> tuple[int, int, int] | None:
    """Elements between neighbouring rows, channels and taps; None if they are not evenly spaced."""
    groups = _find_axis_groups(len(shape), layout)
    if any(b != a + 1 for group in groups for a, b in pairwise(group)):
        return None
    row, channel, tap = (math.prod(shape[group[-1] + 1 :]) if group else 0 for group in groups)
    return row, channel, tap


def layout_families(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The layouts to try for weights of this shape, the likeliest first.

    Those of a family differ only in scan order.
    """
    if len(shape) < 2:
        return ((VECTOR,),)
    if len(shape) == 2:
        return ((DENSE, MATRIX),) if shape[0] < 4 * shape[1] else ((MATRIX, DENSE),)
    if len(shape) == 3:
        return ((KERNEL, KERNEL_BY_INPUT), (PROJECTION, MATRIX, DENSE))
    last, first = math.prod(shape[:-2]), math.prod(shape[2:])
    by_last, by_first = (KERNEL, KERNEL_BY_INPUT), (KERNEL_FIRST, KERNEL_FIRST_BY_INPUT)
    # A kernel with few taps is likelier; if both readings have few, both are tried.
    return ((by_last,) if last <= 4 * first else ()) + ((by_first,) if first <= 4 * last else ())
