"""Choices of the encoder of numbers: predictors, the usual exponent, and exponents with trailing zeros in the mantissa.

Sums of products of integers are exact in float64 in any order, and the elimination is a sequence of rounded steps:
every machine gets the same coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Final

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Coefs = npt.NDArray[np.int16]
Values = npt.NDArray[np.int16]

LEAST_GAIN: Final = 0.01
"""The smallest gain of a predictor in bits a number."""
SAMPLE: Final = 1 << 17
"""The sample for a predictor has about this many numbers, and five for each coefficient."""
LEAST_SAVING: Final = 0.02
"""The smallest saving of trailing zeros in bits a number."""
COEF_BITS: Final = 4.5


def fit_taps(values: Values) -> tuple[Coefs, float]:
    """Coefficients int16[taps, taps] in 1/64 of each tap from earlier ones, for int16[kernels, taps]; and the bits
    gained.

    The gain is of one kernel. The Cholesky factors of the moments contain the regressions of all taps on earlier ones.
    """
    taps = values.shape[1]
    exact = values.astype(np.float64)
    moments = exact.T @ exact
    diagonal = np.einsum("ii->i", moments)
    energy = diagonal.copy()
    diagonal += 1.0 + 1e-3 * energy.mean()
    # eliminate: moments becomes D (its diagonal) and `lower` the unit factor L of L D L'
    lower = np.eye(taps)
    for k in range(taps):
        factor = moments[k + 1 :, k] / moments[k, k]
        lower[k + 1 :, k] = factor
        moments[k + 1 :, k + 1 :] -= np.multiply.outer(factor, moments[k, k + 1 :])
    # the inverse of L holds, in the row of a tap, minus its coefficients
    inverse = np.eye(taps)
    for k in range(taps - 1):
        inverse[k + 1 :, : k + 1] -= np.multiply.outer(lower[k + 1 :, k], inverse[k, : k + 1])
    coefs = np.clip(np.rint(-64 * np.tril(inverse, -1)), -127, 127).astype(np.int16)
    return coefs, float(0.5 * np.log2((energy + 1.0) / np.einsum("ii->i", moments)).sum())


def fit_neighbours(values: Values) -> tuple[Coefs, float]:
    """Coefficients int16[2, 1] in 1/64 of the left and upper neighbours, for int16[rows, columns]; bits gained a
    number.
    """
    exact = values.astype(np.int64)
    left, above = np.zeros_like(exact), np.zeros_like(exact)
    left[:, 1:], above[1:] = exact[:, :-1], exact[:-1]
    energy = int(np.square(exact).sum()) + 1
    a, b, c = (int((x * y).sum()) for x, y in ((left, left), (left, above), (above, above)))
    p, q = int((left * exact).sum()), int((above * exact).sum())
    lean = energy // 1000 + 1
    determinant = (a + lean) * (c + lean) - b * b
    solved = ((p * (c + lean) - q * b) / determinant, (q * (a + lean) - p * b) / determinant)
    m, n = (min(max(round(64 * x), -127), 127) for x in solved)
    residual = energy - (128 * (m * p + n * q) - m * m * a - 2 * m * n * b - n * n * c) / 4096
    return np.array([[m], [n]], np.int16), 0.5 * log2(energy / max(residual, 1.0))


def usual_exponent(counts: Counts) -> int:
    """The median exponent of the numbers that are not (or hardly) zero; counts int64[exponents, zeros]."""
    totals = counts.sum(1)
    if totals[1:].any():
        totals[0] = 0
    return int(np.searchsorted(np.cumsum(totals), (int(totals.sum()) + 1) // 2))


def grid_of(parts: Sequence[tuple[int, Counts]], middle: int) -> int:
    """A bit for each of 32 classes of exponents for which coding trailing zeros of mantissas saves bits.

    parts: counts as above, of the rows whose mantissas share a number of zeros, which are not coded again.
    """
    exponents, zeros = parts[0][1].shape
    member = (np.clip(np.arange(exponents) - middle + 16, 0, 31) == np.arange(32)[:, None]).astype(np.float64)
    ended, reached = np.zeros((2, 32, zeros - 1))
    every = np.zeros(32)
    for shared, counts in parts:
        by_class = member @ counts.astype(np.float64)
        ended[:, shared:] += by_class[:, shared:-1]
        reached[:, shared:] += by_class[:, ::-1].cumsum(1)[:, ::-1][:, shared:-1]
        every += by_class.sum(1)
    saved = reached.sum(1) - _compute_entropy(ended, reached).sum(1)
    return int(sum(1 << int(g) for g in np.flatnonzero(saved > LEAST_SAVING * every + 24)))


def _compute_entropy(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bits of `whole` binary decisions, `part` of which have one outcome."""
    share = np.clip(part / np.maximum(whole, 1), 1e-9, 1 - 1e-9)
    bits: npt.NDArray[np.float64] = -whole * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return bits
