"""Rates of the context coder: the cost in bits of any level of a tensor, which a quantiser adds to the error."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy.context_params import ContextParams, ContextTrace, Levels, encode_levels, initial_states
from wcodec.kernels.context import coder as kernel
from wcodec.model.dataclass import dataclass, replace

Floats = npt.NDArray[np.float32]
_SIZE_FAMILIES: Final = (
    (kernel.SIZE_AT, kernel.SIGN_AT, 0),
    (kernel.SPARSE_SIZE_AT, kernel.SPARSE_SIGN_AT, 640),
)
"""Estimators of magnitudes, dense and sparse: the first, the end, and the row of `RateTables.sizes`."""


@dataclass(frozen=True)
class RateTables:
    """Contexts of every weight, and the price of every event in them, in bits times a rate, after coding given levels.

    contexts:    uint16[weights, 2].
    predictions: int32[weights] in 1/256 step, of length 0 if nothing is predicted.
    bits:        float32[estimators, 2].
    sizes:       float32[contexts, 32]: bits of a magnitude from 1 upwards.
    slopes:      float32[64]: bits for a unit of magnitude, for scale classes whose low bits are coded separately;
                 otherwise 0.
    """

    sparse: bool
    contexts: npt.NDArray[np.uint16]
    predictions: Levels
    bits: Floats
    sizes: Floats
    slopes: Floats


def measure_rates(levels: Levels, states: int, params: ContextParams, rate: float) -> RateTables:
    """Code int32[rows, channels, taps], taps <= 64, with `params`; return the estimators' prices, times `rate`."""
    shape = levels.shape[0], levels.shape[1] * levels.shape[2]
    contexts = np.empty((*shape, 2), np.uint16)
    predictions = np.empty(shape, np.int32)
    learnt = np.empty(kernel.STATE_COUNT, np.uint32)
    encode_levels(levels, params, states, ContextTrace(contexts, predictions, learnt=learnt))
    bits, sizes = _compute_prices(learnt, rate)
    return RateTables(
        params.sparse,
        contexts.reshape(-1, 2),
        predictions.reshape(-1) if params.predictor else predictions.reshape(-1)[:0],
        bits,
        sizes,
        _compute_slopes(rate),
    )


def start_rates(levels: Levels, states: int, params: ContextParams, rate: float) -> RateTables:
    """Prices by the initial estimators, which few weights hardly change; this takes a third of the time."""
    bits, sizes = _compute_first_prices(rate)
    contexts, predictions = np.empty((0, 2), np.uint16), np.empty(0, np.int32)
    found = RateTables(params.sparse, contexts, predictions, bits, sizes, _compute_slopes(rate))
    return rebase(found, levels, states, params)


def rebase(found: RateTables, levels: Levels, states: int, params: ContextParams) -> RateTables:
    """The same prices, with the contexts of other levels int32[rows, channels, taps]."""
    shape = levels.shape[0], levels.shape[1] * levels.shape[2]
    contexts = np.empty((*shape, 2), np.uint16)
    predictions = np.empty(shape, np.int32)
    encode_levels(levels, params, states, ContextTrace(contexts, predictions, quiet=True))
    seen = predictions.reshape(-1)
    return replace(found, contexts=contexts.reshape(-1, 2), predictions=seen if params.predictor else seen[:0])


def _compute_prices(learnt: npt.NDArray[np.uint32], rate: float) -> tuple[Floats, Floats]:
    """Bits of every event and of magnitudes, as in `RateTables`: initial ones, unless the estimators learnt others."""
    bits, sizes = (prices.copy() for prices in _compute_first_prices(rate))
    changed = np.flatnonzero(learnt != initial_states())
    bits[changed] = _round_rates(_compute_bits(learnt[changed]), rate)
    for begin, end, row in _SIZE_FAMILIES:
        first, last = np.searchsorted(changed, (begin, end))
        cells = (changed[first:last] - begin) >> 4
        if len(cells):
            own = cells[np.flatnonzero(np.diff(cells, prepend=-1))]
            sizes[row + own] = _round_rates(_compute_sizes(_compute_bits(learnt[begin:end].reshape(-1, 16)[own])), rate)
    return bits, sizes


@lru_cache(4)
def _compute_first_prices(rate: float) -> tuple[Floats, Floats]:
    bits = _compute_bits(initial_states())
    sizes = [_compute_sizes(bits[begin:end].reshape(-1, 16, 2)) for begin, end, _ in _SIZE_FAMILIES]
    return _round_rates(bits, rate), _round_rates(np.concatenate(sizes), rate)


@lru_cache(4)
def _compute_slopes(rate: float) -> Floats:
    q = np.arange(64)
    return _round_rates(np.where(q >= 32, 1.4427 * 2.0 ** (-(q - 24) / 4), 0), rate)


def _compute_bits(learnt: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """float64[..., 2]: bits of a zero and of a one, of estimators."""
    ones = (learnt >> np.uint32(10)) / 4194304.0
    return np.stack((-np.log2(1 - ones), -np.log2(ones)), -1)


def _compute_sizes(size: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64[contexts, 32]: bits of magnitudes, for bits[contexts, 16, 2] of their estimators."""
    sizes = np.zeros((len(size), 32))
    run_up = np.cumsum(size[:, :13, 1], axis=1)
    sizes[:, 1] = size[:, 0, 0]
    sizes[:, 2:14] = run_up[:, :12] + size[:, 1:13, 0]
    sizes[:, 14:] = run_up[:, 12:13] + 1 + 2 * np.floor(np.log2(np.arange(1, 19)))
    return sizes


def _round_rates(bits: npt.NDArray[np.float64], rate: float) -> Floats:
    """Rounded far more coarsely than two implementations of the logarithm differ: machines decide alike."""
    return np.ascontiguousarray(np.round(bits * 4096) / 4096 * rate, np.float32)
