"""What a level costs in a file, as a smooth function of the latent behind it."""

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
"""Bits of a non-zero level besides those for its place."""
RANGE: Final = (0.2, 4.0)
"""Least and most that a latent's rate is multiplied by."""


def rate_weights(kernels: Sequence[Float32]) -> list[Float32]:
    """Factors on the rates of latents: how many bits a level costs where it stands, over the mean.

    A coder that adapts pays less for a level in a row and column of many, and more for one that stands alone: so what
    is sparse becomes empty, and what is empty is nearly free. The last axis has the columns.
    """
    bits = [_bits(np.rint(latents)) for latents in kernels]
    kept = sum(int(np.count_nonzero(np.rint(latents))) for latents in kernels)
    total = sum(float(costs[np.rint(latents) != 0].sum()) for costs, latents in zip(bits, kernels, strict=True))
    mean = total / kept if kept else 1.0
    return [np.clip(costs / mean, *RANGE).astype(np.float32) for costs in bits]


def _bits(levels: Float32) -> Float32:
    """Bits of a non-zero level, by how many there are in its row and column."""
    matrix = (levels != 0).reshape(-1, levels.shape[-1])
    rows, columns = matrix.sum(axis=1, dtype=np.float32), matrix.sum(axis=0, dtype=np.float32)
    rows, columns = (counts + 0.2 + 0.1 * counts.mean() for counts in (rows, columns))
    share = np.outer(rows, columns) / rows.sum()
    found: Float32 = (SIGN - np.log2(np.minimum(share, 1))).reshape(levels.shape)
    return found


def rate_gradient(tf: ModuleType, latents: Tensor, lambda_: Tensor, sharpness: float) -> Tensor:
    """The slope of lambda log2(1 + c |latent|), c the sharpness: a level of 1 costs log2(1 + c) bits, 0 nothing."""
    return lambda_ * tf.sign(latents) * (sharpness / np.log(2)) / (1 + sharpness * tf.abs(latents))
