"""Rounding with error feedback: later weights compensate for the rounding errors of earlier ones.

GPTQ (Frantar et al. 2022) in the form of LDLQ (Chee et al. 2023). For inputs x with second moments H = E[x x'],
rounding W to W^ costs trace((W - W^)' H (W - W^)). With H = M M', M upper triangular, this is the sum over i of |sum_{j
<= i} M_ji e_j|^2, e = W - W^. Therefore v_i = w_i + sum_{j < i} (M_ji / M_ii) e_j is the best value to round.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

ROWS: Final = 64
"""The number of rows whose feedback is added one by one; that of all earlier rows is added in one product."""


def correct_for_drift(weights: Float32, power: Float64, drift: Float64) -> Float32:
    """The weights whose outputs for inputs x come nearest to those of `weights[n, units]` for the original's inputs x0.

    power: E[x x'], damped.
    drift: E[x (x0 - x)'].
    """
    moved: Float32 = weights + np.linalg.solve(power, drift @ weights).astype(np.float32)
    return moved


def feedback_matrix(power: Float64) -> Float32:
    """The matrix A with A_ji = M_ji / M_ii for j < i, from damped moments `power[n, n]`."""
    upper = np.linalg.cholesky(power[::-1, ::-1])[::-1, ::-1]
    upper = upper / np.diagonal(upper)
    return np.triu(upper, 1).astype(np.float32)


def gptq_round(weights: Float32, feedback: Float32, mask: npt.NDArray[np.bool_] | None = None) -> Float32:
    """`weights[n, units]` in steps, each corrected for the errors before it. Rounding gives the levels.

    mask: False for weights that become zero, whose errors are corrected by later weights too.
    """
    moved = np.empty_like(weights)
    errors = np.empty_like(weights)
    for start in range(0, len(weights), ROWS):
        stop = min(start + ROWS, len(weights))
        moved[start:stop] = weights[start:stop] + feedback[:start, start:stop].T @ errors[:start]
        for i in range(start, stop):
            moved[i] += feedback[start:i, i] @ errors[start:i]
            if mask is not None:
                moved[i] *= mask[i]
            errors[i] = weights[i] - np.rint(moved[i])
    return moved
