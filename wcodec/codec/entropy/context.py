"""The context coder of levels: every level is coded by adaptive estimators chosen by how large it is expected to be.

The expectation is a fitted mixture of means over the row, column, kernel and neighbours (`formats/wcz.md`, section
context coder). `encode` searches, `decode` only follows.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from wcodec.codec.entropy.context_design import (
    Levels,
    Shape,
    facts_of,
    geometry,
    pack,
    parse,
    run,
    template,
    weights_of,
)
from wcodec.codec.entropy.context_search import Effort, choose
from wcodec.errors import CorruptError, TruncatedError
from wcodec.kernels.context import coder as kernel


def encode(levels: Levels, states: int = 0, effort: Effort = "normal") -> bytes:
    """Codes int32[rows, channels, taps], |level| <= wire.MAX_LEVEL, to a payload that stands for itself; never fails.

    states: 0, or those of the trellis (4, 8 or 128) that the levels come from, whose quantiser then is context.
    effort: "fast" codes once; "normal" fits and compares; "best" compares more. Inverse: `decode`.
    """
    if not levels.any():
        return b""
    shape = geometry(cast(Shape, levels.shape))
    levels = np.ascontiguousarray(levels).reshape(shape)
    design = choose(levels, states, effort)
    return pack(design, shape) + run(levels, design, states)[0]


def decode(payload: bytes, shape: Shape, states: int = 0) -> Levels:
    """The levels of a payload. Raises: ContainerError. Inverse: `encode`."""
    return _decode(payload, shape, states)[0]


def parts(payload: bytes, shape: Shape, states: int = 0) -> dict[str, int]:
    """Bytes by what they serve: "tables" for weights and coefficients, "levels" for the rest."""
    tables = min(len(payload), _decode(payload, shape, states)[1])
    return {"tables": tables, "levels": len(payload) - tables}


def _decode(payload: bytes, shape: Shape, states: int) -> tuple[Levels, int]:
    levels = np.zeros(shape, np.int32)
    if not payload:
        return levels, 0
    if not levels.size:
        raise CorruptError(f"context levels: expected no bytes for shape {shape}, got {len(payload)}")
    inner = geometry(shape)
    design, at = parse(payload, inner)
    fault, head = kernel.decode(
        np.frombuffer(payload, np.uint8)[at:],
        facts_of(design, states),
        template(),
        weights_of(design, inner[2]),
        0 if design.weights is None else len(design.weights),
        design.side,
        levels.reshape(inner),
    )
    if fault & 1:
        raise TruncatedError(f"context levels: ended early; needed {levels.size} levels from {len(payload)} bytes")
    if fault:
        raise CorruptError(f"context levels: expected {levels.size} levels in {len(payload)} bytes, got other contents")
    return levels, at + max(0, head - 8)
