"""Which coder a tensor's levels get with `--fast`: static scales or Huffman codes.

Otherwise contexts stay the default: at equal error static scales took 0.2 to 3.9 % more bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from wcodec.codec.dequantization import Dequantizer, Levels, ProductDequantizer
from wcodec.codec.entropy import dense, static
from wcodec.codec.layout import VECTOR, slice_rows, view_shape
from wcodec.codec.plan import LossyPlan, UniformPlan
from wcodec.codec.quantization import quantize_chunk
from wcodec.container.dtypes import Float32
from wcodec.container.wire import CHUNK_WEIGHTS

LEAST: Final = 1 << 16
"""Levels from which on the static coder is tried."""
MOST_ZEROS: Final = 0.8
WORTH: Final = 1.02
"""Bytes of the static coder, over those of Huffman codes, for which its speed is the better bargain."""
SAMPLE: Final = 1 << 16


def choose_coder(weights: Float32, layout: int, dequantizer: Dequantizer, plan: LossyPlan) -> LossyPlan:
    """`plan` with the coder that is smaller on a sample of float32 weights, quantised by plain rounding."""
    if plan.coder != "fast" or weights.size < LEAST:
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
    is_worth = _static_bytes(levels, weights.size) <= WORTH * len(dense.encode(levels))
    return replace(plan, coder="static") if is_worth else plan


def _static_bytes(levels: Levels, every: int) -> float:
    """Bytes of the levels, with their part of what a chunk of the tensor has once."""
    payload = static.encode(levels)
    once = static.side_bytes(payload) - len(levels) * 3 // 8
    return len(payload) - once * (1 - levels.size / max(levels.size, min(every, CHUNK_WEIGHTS)))
