"""The levels of a chunk of weights, by the dequantizer that was chosen for its tensor."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.dequantization import (
    CodebookDequantizer,
    Dequantizer,
    HashedDequantizer,
    ProductDequantizer,
    TransformDequantizer,
    TruncatedFloatDequantizer,
    UniformDequantizer,
)
from wcodec.codec.dequantizer_base import Levels
from wcodec.codec.plan import AffinePlan, FloatPlan, HashedPlan, LossyPlan, ProductPlan, UniformPlan
from wcodec.codec.quantizers import product
from wcodec.codec.quantizers.affine import quantize_rows
from wcodec.codec.quantizers.kmeans import assign
from wcodec.codec.quantizers.transform import transform
from wcodec.codec.quantizers.trellis import quantize, quantize_in_lanes
from wcodec.codec.row_dequantizers import GroupDequantizer, PerRowDequantizer
from wcodec.container.dtypes import Float32, from_float, to_float32
from wcodec.container.wire import CHUNK_WEIGHTS

LARGEST: Final = 0x7F7FFFFF
"""The bits of the largest finite float32."""
_PASSES = {"fast": 1, "normal": 3, "best": 6}
"""The number of passes in which the trellis estimates its rates."""


def quantize_chunk(part: Float32, dequantizer: Dequantizer, plan: LossyPlan) -> Levels:
    """The levels int32[rows, channels, taps] of weights float32[rows, channels, taps]."""
    if isinstance(plan, AffinePlan) and isinstance(dequantizer, PerRowDequantizer | UniformDequantizer):
        steps = np.float32(dequantizer.step) if isinstance(dequantizer, UniformDequantizer) else dequantizer.steps
        return quantize_rows(part, np.broadcast_to(steps, len(part)), plan.how)
    lambda_ = plan.lambda_ if isinstance(plan, UniformPlan | ProductPlan) else 0.0
    match dequantizer:
        case CodebookDequantizer() | GroupDequantizer():
            if isinstance(dequantizer, GroupDequantizer):
                part = part / dequantizer.steps_of(part.shape)
            return assign(part, dequantizer.codebook)
        case UniformDequantizer() | TransformDequantizer():
            if isinstance(dequantizer, TransformDequantizer):
                vectors = part.reshape(len(part), -1, len(dequantizer.basis.matrix))
                part = transform(vectors, dequantizer.basis).reshape(part.shape)
            return _choose_levels(part, dequantizer, lambda_, plan)
        case TruncatedFloatDequantizer():
            codes = magnitude_codes(
                round_to_kind(part, plan) if isinstance(plan, FloatPlan) else part, dequantizer.shift
            )
            return (np.where(part < 0, -1, 1) * np.where(codes, codes - dequantizer.offset, 0)).astype(np.int32)
        case ProductDequantizer():
            vectors = product.split_blocks(part.reshape(len(part), -1), dequantizer.codebook.block)
            return product.assign(vectors, dequantizer.codebook).reshape(len(part), -1, 1)
        case HashedDequantizer() if isinstance(plan, HashedPlan):
            return plan.given.levels.reshape(1, -1, 1)
        case PerRowDequantizer() | HashedDequantizer():
            raise TypeError(f"{type(plan).__name__}: expected no steps by rows and no hash")


def _choose_levels(
    part: Float32, dequantizer: UniformDequantizer | TransformDequantizer, lambda_: float, plan: LossyPlan
) -> Levels:
    """By the rates, and in the lanes, of the coder that will code the levels."""
    by = quantize_in_lanes if plan.coder == "static" else quantize
    zeros = isinstance(plan, UniformPlan) and plan.zeros
    return by(part, dequantizer.states, lambda_, _PASSES[plan.effort], zeros, dequantizer.step)


def round_to_kind(weights: Float32, plan: FloatPlan) -> Float32:
    """Rounded to the shorter type, to nearest even."""
    return weights if plan.dtype == "float32" else to_float32(from_float(weights, plan.dtype), plan.dtype)


def magnitude_codes(weights: Float32, shift: int) -> npt.NDArray[np.int64]:
    """The upper bits of the magnitudes as float32, rounded; infinity becomes the largest finite magnitude."""
    magnitudes = (weights.view(np.int32) & 0x7FFFFFFF).astype(np.int64)
    return np.minimum(magnitudes + ((1 << shift) >> 1), LARGEST) >> shift


def find_code_range(weights: Float32, shift: int, plan: FloatPlan | None = None) -> tuple[int, int]:
    """The smallest and the largest magnitude code above 0, after `round_to_kind` if there is a plan.

    If there is none, they are the end of the range and 0. Codes of a piece are held, not those of the tensor.
    """
    flat, least, most = weights.reshape(-1), 1 << 31 >> shift, 0
    for start in range(0, flat.size, CHUNK_WEIGHTS):
        piece = flat[start : start + CHUNK_WEIGHTS]
        codes = magnitude_codes(round_to_kind(piece, plan) if plan else piece, shift)
        least, most = int(codes[codes > 0].min(initial=least)), int(codes.max(initial=most))
    return least, most
