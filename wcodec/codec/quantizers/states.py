"""Reconstruction of trellis levels. `trellis.quantize` chooses the levels; a decoder needs only this module."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from wcodec.kernels.trellis import search as kernel

States = Literal[0, 4, 8, 128]
Levels = npt.NDArray[np.int32]


def reconstruct(levels: Levels, states: int) -> Levels:
    """The integers, in steps, of these levels. Inverse of `trellis.quantize`, up to the error."""
    if states == 0:
        return levels
    values = np.empty(levels.shape, np.int32)
    kernel.replay(np.ascontiguousarray(levels).reshape(-1), states, values.reshape(-1))
    return values
