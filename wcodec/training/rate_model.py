"""The rate model: the cost of a level in bits, as a smooth function of its latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor

Float32 = npt.NDArray[np.float32]

SIGN: Final = 1.5
"""Bits of a non-zero level, in addition to those for its position."""
RANGE: Final = (0.2, 4.0)
"""The smallest and the largest factor on the rate of a latent."""


def rate_weights(kernels: Sequence[Float32]) -> list[Float32]:
    """Factors on the rates of the latents: the estimated bits of a level at its position, divided by the mean.

    An adaptive coder spends fewer bits on a non-zero level in a row and column with many, and more on an isolated one.
    With these factors sparse rows and columns become empty, and empty ones cost almost nothing. The last axis has the
    columns.
    """
    bits = [_estimate_bits(np.rint(latents)) for latents in kernels]
    kept = sum(int(np.count_nonzero(np.rint(latents))) for latents in kernels)
    total = sum(float(costs[np.rint(latents) != 0].sum()) for costs, latents in zip(bits, kernels, strict=True))
    mean = total / kept if kept else 1.0
    return [np.clip(costs / mean, *RANGE).astype(np.float32) for costs in bits]


def _estimate_bits(levels: Float32) -> Float32:
    """The estimated bits of a non-zero level, from the number of non-zero levels in its row and column."""
    matrix = (levels != 0).reshape(-1, levels.shape[-1])
    rows, columns = matrix.sum(axis=1, dtype=np.float32), matrix.sum(axis=0, dtype=np.float32)
    rows, columns = (counts + 0.2 + 0.1 * counts.mean() for counts in (rows, columns))
    share = np.outer(rows, columns) / rows.sum()
    found: Float32 = (SIGN - np.log2(np.minimum(share, 1))).reshape(levels.shape)
    return found


def rate_gradient(tf: ModuleType, latents: Tensor, lambda_: Tensor, sharpness: float) -> Tensor:
    """The derivative of lambda log2(1 + c |latent|), c the sharpness: a level of 1 costs log2(1 + c) bits, and 0 costs
    none.
    """
    return lambda_ * tf.sign(latents) * (sharpness / np.log(2)) / (1 + sharpness * tf.abs(latents))
