"""A sample of rows of a tensor, from which bytes and error at any step are estimated quickly."""

from __future__ import annotations

from math import inf
from typing import Final

import numpy as np

from wcodec.codec.chunk_levels import quantize_chunk
from wcodec.codec.dequantization import TransformDequantizer, UniformDequantizer
from wcodec.codec.entropy.level_coders import encode_chunk
from wcodec.codec.layout import VECTOR, count_units, unit_slicer
from wcodec.codec.magnitude_pruning import prune_weights
from wcodec.codec.plan import UniformPlan
from wcodec.codec.quantization import SPACING, choose_dequantizer
from wcodec.container.dtypes import Float32, round_step, to_float32
from wcodec.kernels.statistics import distance
from wcodec.model import Tensor
from wcodec.model.dataclass import dataclass, replace

LEAST: Final = 1 << 12
MOST: Final = 1 << 16
"""The smallest and the largest number of weights of a sample."""
SHARE: Final = 32
"""Between these, a sample has one weight in this many."""
BANDS: Final = 16
"""The number of runs of neighbouring rows, evenly spread, because the rows of an embedding differ. None is at an end,
where rows are often unlike the others: those of unused tokens, or of the border of an image."""


@dataclass(frozen=True)
class TensorSample:
    """Some rows of a tensor, and the dequantizer that its plan probably leads to.

    rows:  float32[rows, channels, taps].
    scale: weights of the tensor for each weight of the sample.
    """

    rows: Float32
    dequantizer: UniformDequantizer | TransformDequantizer
    scale: float

    def measure(self, plan: UniformPlan) -> tuple[float, float]:
        """The estimated bytes and squared error of the tensor. Prices are learnt once, and contexts are not fitted."""
        step = round_step(plan.step * SPACING[plan.states])
        dequantizer = replace(self.dequantizer, step=step, states=plan.states)
        levels = quantize_chunk(self.rows, dequantizer, replace(plan, effort="fast", coder="context"))
        payload = encode_chunk(levels, plan.states, ("context",), "fast")
        values = dequantizer.dequantize(levels, True).astype(np.float32, copy=False)
        return len(payload) * self.scale, distance(self.rows.reshape(-1), values.reshape(-1)) * self.scale


def take_sample(tensor: Tensor, plan: UniformPlan) -> TensorSample | None:
    """The sample of a tensor with at least one weight; None if it has few distinct values."""
    weights = to_float32(tensor.read(), tensor.dtype)
    if plan.limit < inf:
        weights = np.where(np.abs(weights) <= plan.limit, weights, np.float32(0))
    if plan.prune:
        weights = prune_weights(weights, plan.prune)
    layout, dequantizer = choose_dequantizer(weights, replace(plan, effort="fast", few=False))
    if not isinstance(dequantizer, UniformDequantizer | TransformDequantizer):
        return None
    units, part = count_units(tensor.shape, layout), unit_slicer(weights, layout)
    wanted = min(max(tensor.count // SHARE, LEAST), MOST)
    count = max(1, wanted * units // tensor.count // BANDS)
    if count * BANDS >= units:
        rows = part(0, units)
    else:
        starts = [(2 * band + 1) * (units - count) // (2 * BANDS) for band in range(BANDS)]
        rows = np.concatenate([part(start, count) for start in starts], axis=1 if layout == VECTOR else 0)
    return TensorSample(np.ascontiguousarray(rows), dequantizer, tensor.count / rows.size)
