"""The weights and units of a kernel that a trial sets to zero before rounding, those that cost the outputs least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wcodec.calibration.gptq import Float32, Float64

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class KeptParts:
    """The fractions of a kernel's weights and of its units (columns of its matrix) that are kept, over 0 to 1."""

    weights: float = 1.0
    units: float = 1.0


def make_mask(matrix: Float32, inputs: Sequence[slice], powers: Sequence[Float64], kept: KeptParts) -> Mask | None:
    """False for the weights of `matrix[inputs, units]` that become zero; None if all are kept.

    A weight costs its square times the power of its input, a unit the sum over its weights; at least one unit is kept.
    inputs, powers: for each part of the matrix its rows, and their second moments [rows, rows].
    """
    if kept == KeptParts():
        return None
    costs = np.square(matrix, dtype=np.float64)
    for rows, power in zip(inputs, powers, strict=True):
        costs[rows] *= np.diagonal(power)[:, None]
    mask = np.ones(matrix.shape, bool)
    pruned = round((1.0 - kept.weights) * costs.size)
    mask.reshape(-1)[np.argsort(costs, axis=None, kind="stable")[:pruned]] = False
    removed = min(round((1.0 - kept.units) * matrix.shape[1]), matrix.shape[1] - 1)
    mask[:, np.argsort(costs.sum(axis=0), kind="stable")[:removed]] = False
    return mask
