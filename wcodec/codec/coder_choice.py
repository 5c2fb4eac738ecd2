"""Which coder a tensor's levels get where the recipe leaves it open: static scales, contexts, or Huffman codes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from wcodec.codec.dequantization import Dequantizer, Levels, ProductDequantizer
from wcodec.codec.entropy import context, dense, static
from wcodec.codec.entropy.context_params import ContextParams
from wcodec.codec.entropy.context_search import add_lags
from wcodec.codec.layout import VECTOR, slice_rows, view_shape
from wcodec.codec.plan import LossyPlan, UniformPlan
from wcodec.codec.quantization import quantize_chunk
from wcodec.container.dtypes import Float32
from wcodec.container.wire import CHUNK_WEIGHTS

LEAST: Final = 1 << 16
"""Levels from which on the static coder is tried."""
MOST_ZEROS: Final = 0.8
WORTH: Final = 1.02
"""Bytes of the static coder, over those of contexts, for which its speed is the better bargain."""
SAMPLE: Final = 1 << 16


def choose_coder(weights: Float32, layout: int, dequantizer: Dequantizer, plan: LossyPlan) -> LossyPlan:
    """`plan` with the coder that a sample of float32 weights speaks for, quantised by plain rounding."""
    if plan.coder not in {"auto", "fast"} or weights.size < LEAST:
        return plan
    if layout == VECTOR or isinstance(dequantizer, ProductDequantizer):
        return plan
    every, channels, taps = view_shape(weights.shape, layout)
    rows = min(every, max(16, SAMPLE // (channels * taps)))
    start = (every - rows) // 2
    sample = slice_rows(weights, layout, start, rows)
    plain = UniformPlan() if isinstance(plan, UniformPlan) else plan
    levels = quantize_chunk(sample, replace(dequantizer.for_rows(start, rows), states=0), plain)
    if np.count_nonzero(levels) < (1 - MOST_ZEROS) * levels.size:
        return plan
    bits = _static_bytes(levels, weights.size)
    other = len(dense.encode(levels)) if plan.coder == "fast" else _context_bytes(levels, bits)
    return replace(plan, coder="static") if bits <= WORTH * other else plan


def _static_bytes(levels: Levels, every: int) -> float:
    """Bytes of the levels, with their part of what a chunk of the tensor has once."""
    payload = static.encode(levels)
    once = static.side_bytes(payload) - len(levels) * 3 // 8
    return len(payload) - once * (1 - levels.size / max(levels.size, min(every, CHUNK_WEIGHTS)))


def _context_bytes(levels: Levels, enough: float) -> float:
    """Roughly what contexts take: a fit of their weights saves as much as the trellis gains by prices that stay."""
    quick = len(context.encode(levels, 0, "fast"))
    if levels.shape[2] > 1 or enough > WORTH * quick or not add_lags(levels, 0, [ContextParams()]):
        return quick
    return len(context.encode(levels))
