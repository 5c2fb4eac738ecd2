"""Rounding with error feedback: later weights make up for the rounding of earlier ones.

GPTQ (Frantar et al. 2022) in the form of LDLQ (Chee et al. 2023). For inputs x with second moments H = E[x x'],
rounding W to W^ costs trace((W - W^)' H (W - W^)). With H = M M', M upper triangular, that is the sum over i of
|sum_{j <= i} M_ji e_j|^2, e = W - W^; so v_i = w_i + sum_{j < i} (M_ji / M_ii) e_j is what is best to round.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

ROWS: Final = 64
"""Rows whose feedback is added one by one; all earlier ones are added in one product."""
DEAD: Final = 1e-6
"""Inputs of less power than this part of the mean are taken to have the mean: they get no feedback."""


def damp(power: Float64, damping: float) -> Float64:
    """Second moments `power[n, n]` with `damping` times their mean diagonal added to it.

    Weak damping lets the feedback pile weight onto directions that the inputs hardly use.
    """
    diagonal = np.diagonal(power)
    mean = float(diagonal.mean()) or 1.0
    return power + np.diag(np.where(diagonal < DEAD * mean, mean, 0.0) + damping * mean)


def correct_for_drift(weights: Float32, power: Float64, drift: Float64) -> Float32:
    """The weights that come nearest, for inputs x, to what `weights[n, units]` give for the original's inputs x0.

    power: E[x x'], damped; drift: E[x (x0 - x)'].
    """
    moved: Float32 = weights + np.linalg.solve(power, drift @ weights).astype(np.float32)
    return moved


def feedback_matrix(power: Float64) -> Float32:
    """A with A_ji = M_ji / M_ii for j < i, from damped moments `power[n, n]`."""
    upper = np.linalg.cholesky(power[::-1, ::-1])[::-1, ::-1]
    upper = upper / np.diagonal(upper)
    return np.triu(upper, 1).astype(np.float32)


def gptq_round(weights: Float32, feedback: Float32) -> Float32:
    """`weights[n, units]` in steps, moved by the feedback of the rounding before them; their rint are the levels."""
    moved = np.empty_like(weights)
    errors = np.empty_like(weights)
    for start in range(0, len(weights), ROWS):
        stop = min(start + ROWS, len(weights))
        moved[start:stop] = weights[start:stop] + feedback[:start, start:stop].T @ errors[:start]
        for i in range(start, stop):
            moved[i] += feedback[start:i, i] @ errors[start:i]
            errors[i] = weights[i] - np.rint(moved[i])
    return moved
