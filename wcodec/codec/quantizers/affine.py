"""Integers of a few bits with one step for each row: affine quantisation (Jacob et al. 2018) and binary weights
(Courbariaux, Bengio and David 2015; Rastegari et al. 2016).

A level is the integer minus the row's zero point, q - z, so that 0.0 stays 0.0 and a weight is step * level; decoding
does not need the zero point of runtimes. The step is the float32 of the formula, so that the integers are those of a
runtime. Only if a tie would need one more level, it is the next larger float32: nothing is ever clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from wcodec.codec.plan import Affine


Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Levels = npt.NDArray[np.int32]

_LOWEST, _HIGHEST = 0x0080, 0x7F7F
"""The upper halves of the least normal float32 and of the largest."""
_LEAST, _MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def compute_row_steps(weights: Floats, how: Affine, bits: int) -> Floats:
    """float32[rows]: a step for each row of weights[rows, ...], finite.

    symmetric:  max|r| / q_max with q_max = 2^(bits - 1) - 1, so that q = round(clip(r q_max / max|r|, -q_max, q_max)).
    asymmetric: (r_max - r_min) / (2^bits - 1), with 0 in the range; z = round(-r_min / s), q = round(r / s) + z.
    binary:     mean |r| of the non-zero weights, the least squared error of +-s (XNOR-Net); bits are not used.
    """
    rows = weights.reshape(len(weights), -1)
    low, high = np.minimum(rows.min(axis=1, initial=0.0), 0.0), np.maximum(rows.max(axis=1, initial=0.0), 0.0)
    magnitudes = np.maximum(-low, high)
    if how == "binary":
        kept = np.count_nonzero(rows, axis=1)
        sums = np.abs(rows).sum(axis=1, dtype=np.float64)
        return _round_short(sums / np.maximum(kept, 1))
    if how == "symmetric":
        most = float((1 << bits - 1) - 1)
        return _fit_steps(magnitudes / np.float64(most), lambda steps: np.rint(magnitudes / steps) <= most)
    every = float((1 << bits) - 1)
    wanted = (high.astype(np.float64) - low) / every
    return _fit_steps(wanted, lambda steps: np.rint(high / steps) - np.rint(low / steps) <= every)


def quantize_rows(weights: Floats, steps: Floats, how: Affine) -> Levels:
    """int32[rows, ...]: the level of each of weights[rows, ...]; level 0 for 0.0. Inverse: `PerRowDequantizer`."""
    if how == "binary":
        signs: Levels = np.sign(weights).astype(np.int32)
        return signs
    levels: Levels = np.rint(weights / steps.reshape(-1, *(1,) * (weights.ndim - 1))).astype(np.int32)
    return levels


def is_short(steps: Floats) -> bool:
    """Whether eight bits of mantissa are enough for every step."""
    return not bool((np.ascontiguousarray(steps).view(np.uint32) & 0xFFFF).any())


def _fit_steps(wanted: Doubles, fits: Callable[[Floats], npt.NDArray[np.bool_]]) -> Floats:
    """The wanted steps as float32; the next larger one if the levels do not fit because of a tie."""
    steps = np.clip(wanted, _LEAST, _MOST).astype(np.float32)
    while not (fitting := fits(steps)).all() and steps.max() < _MOST:
        steps = np.where(fitting, steps, np.nextafter(steps, np.float32(np.inf)))
    return steps


def _round_short(wanted: Doubles) -> Floats:
    """Positive float32 with eight mantissa bits; the smallest one for a row of zeros."""
    bits = wanted.astype(np.float32).view(np.uint32)
    halves = np.rint(bits / 65536.0)
    return (np.clip(halves, _LOWEST, _HIGHEST).astype(np.uint32) << 16).view(np.float32)
