"""The context coder of levels: adaptive estimators, selected by the expected magnitude of each level.

The expectation is a fitted mixture of means over the row, column, kernel and neighbours (`formats/wcz.md`, section
context coder). `encode` searches for parameters; `decode` does not search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from wcodec.codec.entropy.context_params import (
    Levels,
    Shape,
    coding_shape,
    encode_levels,
    initial_states,
    kernel_params,
    pack,
    parse,
    scale_weights,
)
from wcodec.errors import CorruptError, TruncatedError
from wcodec.kernels.context import coder as kernel

if TYPE_CHECKING:
    from wcodec.codec.entropy.context_search import Effort


def encode(levels: Levels, states: int = 0, effort: Effort = "normal") -> bytes:
    """Encode int32[rows, channels, taps], |level| <= wire.MAX_LEVEL, to a self-contained payload; never fails.

    states: 0, or the number of states (4, 8 or 128) of the trellis that chose the levels; its quantiser is then a
            context.
    effort: "fast" codes once; "normal" fits and compares; "best" compares more.
    Inverse: `decode`.
    """
    from wcodec.codec.entropy.context_search import choose_params

    if not levels.any():
        return b""
    shape = coding_shape(cast(Shape, levels.shape))
    levels = np.ascontiguousarray(levels).reshape(shape)
    params = choose_params(levels, states, effort)
    return pack(params, shape) + encode_levels(levels, params, states)[0]


def decode(payload: bytes, shape: Shape, states: int = 0) -> Levels:
    """The levels of a payload. Raises: ContainerError. Inverse: `encode`."""
    levels = np.zeros(shape, np.int32)
    if not payload:
        return levels
    if not levels.size:
        raise CorruptError(f"context levels: expected no bytes for shape {shape}, got {len(payload)}")
    inner = coding_shape(shape)
    params, at = parse(payload, inner)
    fault, _ = kernel.decode(
        np.frombuffer(payload, np.uint8)[at:],
        kernel_params(params, states),
        initial_states(),
        scale_weights(params, inner[2]),
        0 if params.weights is None else len(params.weights),
        params.side,
        levels.reshape(inner),
    )
    if fault & 1:
        raise TruncatedError(f"context levels: ended early; needed {levels.size} levels from {len(payload)} bytes")
    if fault:
        raise CorruptError(f"context levels: expected {levels.size} levels in {len(payload)} bytes, got other contents")
    return levels
