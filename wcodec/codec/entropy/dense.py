"""The dense level coder: every level is one symbol, in memory order. It is fast and uses no contexts."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import symbols
from wcodec.container.wire import MAX_LEVEL
from wcodec.errors import CorruptError
from wcodec.kernels import symbols as kernel

Levels = npt.NDArray[np.int32]


def encode(levels: Levels) -> bytes:
    """int32[rows, channels, taps] as one stream of zigzag symbols. Inverse: `decode`."""
    flat = np.ascontiguousarray(levels, np.int32).reshape(-1)
    zigzag = np.empty(len(flat), np.uint32)
    kernel.zigzag(flat, zigzag)
    return symbols.encode(zigzag)


def decode(payload: bytes, shape: tuple[int, int, int]) -> Levels:
    """int32[shape]. Inverse: `encode`.

    Raises: TruncatedError, CorruptError, UnsupportedError.
    """
    zigzag = symbols.decode(payload, math.prod(shape))
    levels = zigzag.view(np.int32)
    largest = kernel.unzigzag(zigzag, levels)
    if largest > 2 * MAX_LEVEL:
        raise CorruptError(f"levels: expected symbols of at most {2 * MAX_LEVEL}, got {largest}")
    return levels.reshape(shape)
