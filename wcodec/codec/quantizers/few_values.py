"""Tensors with few distinct values, because they were clustered, or quantised to a few bits before."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MOST: Final = 1024
"""The largest number of distinct values, without 0.0, for a codebook."""
_FIRST, _NEXT, _BLOCK = 1 << 16, 1 << 12, 1 << 20


def find_few_values(weights: Floats) -> Floats | None:
    """The distinct values except 0.0, ascending, of finite weights; None if there are many, or many relative to the
    weights.

    A sample of a few thousand weights decides for most tensors.
    """
    flat = weights.reshape(-1)
    first = flat[:: max(1, flat.size // _FIRST)]
    sample = first[first != 0][:_NEXT]
    if 2 * _find_distinct(sample).size > min(max(sample.size, 16), 2 * MOST):
        return None
    found = np.empty(0, np.float32)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        found = _find_distinct(np.concatenate([found, block[block != 0]]))
        if found.size > MOST:
            return None
    return found if 2 * found.size <= np.count_nonzero(flat) else None


def _find_distinct(values: Floats) -> Floats:
    """The distinct values, as of np.unique, whose import of numpy.ma takes longer than most files."""
    ordered = np.sort(values)
    new = np.ones(ordered.size, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]
