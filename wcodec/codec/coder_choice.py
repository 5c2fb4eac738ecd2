"""The coder of the levels of a large tensor: static scales, which decode several times as fast, or another one.

With `--fast` the other is Huffman coding. By default it is the context coder, which at equal error takes 0.3 % less in
most tensors: static scales are used unless contexts save more than 2 %.
"""

from __future__ import annotations

from math import log2
from typing import Final

import numpy as np

from wcodec.codec.chunk_levels import quantize_chunk
from wcodec.codec.dequantization import Dequantizer, HashedDequantizer, ProductDequantizer
from wcodec.codec.dequantizer_base import Levels
from wcodec.codec.entropy import context, dense, static
from wcodec.codec.entropy.level_coders import as_decoded
from wcodec.codec.layout import VECTOR, slice_rows, view_shape
from wcodec.codec.plan import AffinePlan, LossyPlan, ProductPlan, UniformPlan
from wcodec.container.dtypes import Float32
from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.kernels.statistics import distance
from wcodec.model.dataclass import replace

LEAST: Final = 1 << 16
"""The smallest number of levels for which the static coder is tried."""
MOST_ZEROS: Final = 0.8
WORTH: Final = 1.02
"""The static coder is chosen if its bytes are at most this many times those of Huffman codes, because it is faster."""
SAMPLE: Final = 1 << 16


CONTEXTS_LEARN: Final = 1.008
"""The ratio of the bytes of static scales to those of contexts, on a sample of JUDGED levels. Contexts are adaptive and
cost some 1.2 % more there than in a whole tensor, so this ratio means a saving of 2 % (60 tensors, four networks)."""
JUDGED: Final = 1 << 15


def choose_coder(weights: Float32, layout: int, dequantizer: Dequantizer, plan: LossyPlan) -> LossyPlan:
    """`plan` with the coder that suits a sample of float32 weights."""
    if isinstance(plan, ProductPlan) and plan.aligned and isinstance(dequantizer, ProductDequantizer):
        return replace(plan, coder="byte" if len(dequantizer.codebook.entries) <= 1 << 8 else "two-bytes")
    if weights.size < LEAST or layout == VECTOR or isinstance(dequantizer, ProductDequantizer | HashedDequantizer):
        return plan
    if plan.coder == "auto" and plan.effort == "normal" and _is_free(plan):
        is_worth = _is_as_small_as_contexts(weights, layout, dequantizer, plan)
        return replace(plan, coder="static") if is_worth else plan
    return _choose_for_speed(weights, layout, dequantizer, plan) if plan.coder == "fast" else plan


def _is_free(plan: LossyPlan) -> bool:
    """Whether this encoder chooses the levels itself. Levels from training and from pruning get the smallest coder."""
    return isinstance(plan, AffinePlan) or (isinstance(plan, UniformPlan) and plan.lambda_ > 0)


def _is_as_small_as_contexts(weights: Float32, layout: int, dequantizer: Dequantizer, plan: LossyPlan) -> bool:
    """Compared at equal error: half a bit a level for a factor of two."""
    every, channels, taps = view_shape(weights.shape, layout)
    rows = min(every, max(16, JUDGED // (channels * taps)))
    start = (every - rows) // 2
    sample = slice_rows(weights, layout, start, rows)
    own = dequantizer.for_rows(start, rows)
    sizes, errors = [], []
    for coder in ("context", "static"):
        levels = quantize_chunk(sample, own, replace(plan, coder=coder, effort="fast"))
        if np.count_nonzero(levels) < (1 - MOST_ZEROS) * levels.size:
            return False
        is_static = coder == "static"
        sizes.append(
            _estimate_static_bytes(levels, weights.size, own.states)
            if is_static
            else len(context.encode(levels, own.states))
        )
        integers, replayed = as_decoded(levels, own.states, (coder,))
        values = (replace(own, states=0) if replayed else own).dequantize(integers, True)
        errors.append(distance(sample.reshape(-1), values.astype(np.float32, copy=False).reshape(-1)))
    more = sample.size / 16 * log2(errors[1] / errors[0]) if min(errors) > 0 else 0.0
    return sizes[1] + more <= CONTEXTS_LEARN * sizes[0]


def _choose_for_speed(weights: Float32, layout: int, dequantizer: Dequantizer, plan: LossyPlan) -> LossyPlan:
    """The smaller of static scales and Huffman codes, with plain rounding."""
    every, channels, taps = view_shape(weights.shape, layout)
    rows = min(every, max(16, SAMPLE // (channels * taps)))
    start = (every - rows) // 2
    sample = slice_rows(weights, layout, start, rows)
    plain = UniformPlan() if isinstance(plan, UniformPlan) else plan
    levels = quantize_chunk(sample, replace(dequantizer.for_rows(start, rows), states=0), plain)
    if np.count_nonzero(levels) < (1 - MOST_ZEROS) * levels.size:
        return plan
    is_worth = _estimate_static_bytes(levels, weights.size) <= WORTH * len(dense.encode(levels))
    return replace(plan, coder="static") if is_worth else plan


def _estimate_static_bytes(levels: Levels, every: int, states: int = 0) -> float:
    """Bytes of the levels, with their share of the bytes that a chunk of the tensor has once."""
    payload = static.encode(levels, states)
    once = static.side_bytes(payload) - len(levels) * 3 // 8
    return len(payload) - once * (1 - levels.size / max(levels.size, min(every, CHUNK_WEIGHTS)))
