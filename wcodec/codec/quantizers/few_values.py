"""Tensors whose weights have few distinct values: clustered, of a few bits, or of two or three values already."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MOST: Final = 1024
"""Distinct values, 0.0 apart, over which no codebook is thought of."""
_FIRST, _NEXT, _BLOCK = 1 << 16, 1 << 12, 1 << 20


def find_few_values(weights: Floats) -> Floats | None:
    """The distinct values but 0.0, ascending, of finite weights; None where they are many, or many for the weights.

    A few thousand weights tell most tensors apart.
    """
    flat = weights.reshape(-1)
    first = flat[:: max(1, flat.size // _FIRST)]
    sample = first[first != 0][:_NEXT]
    if 2 * _distinct(sample).size > min(max(sample.size, 16), 2 * MOST):
        return None
    found = np.empty(0, np.float32)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        found = _distinct(np.concatenate([found, block[block != 0]]))
        if found.size > MOST:
            return None
    return found if 2 * found.size <= np.count_nonzero(flat) else None


def _distinct(values: Floats) -> Floats:
    """As np.unique, which would load numpy.ma: that takes longer than most files."""
    ordered = np.sort(values)
    new = np.ones(ordered.size, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]
