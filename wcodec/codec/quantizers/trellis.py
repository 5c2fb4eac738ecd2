"""Quantisation with the coder's rates: plain rounding, rate-distortion optimised rounding, or a trellis.

A trellis switches between two quantisers by the parity of the levels so far: a finer joint grid at the rate of a coarse
one (dependent quantisation with 4 or 8 states, Schwarz et al. 2019; Marcellin & Fischer 1990). The one with 128 states
is the one-dimensional code of Ungerboeck 1982: 0.04 bits a weight fewer than with 8 at the same error, for a tenth more
time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy import static_fit
from wcodec.codec.entropy.context_params import coding_shape
from wcodec.codec.entropy.context_rates import RateTables, measure_rates, rebase, start_rates
from wcodec.codec.entropy.context_search import estimate_params, plain_params
from wcodec.codec.entropy.static_model import Scales
from wcodec.codec.entropy.static_rates import LaneRates, no_rates, rates_of
from wcodec.codec.quantizers.states import Levels, States
from wcodec.kernels import rounding as rounding_kernel
from wcodec.kernels.context.coder import STATE_COUNT
from wcodec.kernels.trellis import search as kernel

MAX_INPUT = (1 << 28) - 1.0
LEARN = 60_000
FEW = 512
"""The smallest number of weights for which the coder learns enough to measure its prices."""
MIDDLE = 0.65
"""The mean of the rounding offsets of the two quantisers of a trellis."""
OFFSETS = (MIDDLE, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)


def quantize(
    weights: npt.NDArray[np.float32],
    states: States,
    rate: float = 0.0,
    passes: int = 2,
    zeros: bool = False,
    step: float = 1.0,
) -> Levels:
    """Levels int32 of float32[rows, channels, taps] in units of the step, with the least sum of d^2 + rate * bits.

    With `states` 0 a step is the distance of neighbouring levels, otherwise half of it: see `reconstruct`.
    rate:   squared steps that a bit is worth; 0 ignores the bits.
    passes: how many times the rates are estimated from the levels of the pass before, on about LEARN weights.
    zeros:  a value of 0 gets level 0, which a trellis may otherwise change in favour of later weights.
    Inverse: `reconstruct`, up to the error.
    """
    values, largest = _in_steps(weights, step)
    levels = _round_nearest(values, states, MIDDLE)
    if (states == 0 and rate <= 0) or _are_zeros(largest, states):
        return levels
    if rate <= 0:
        return _choose_levels(values, states, rate, _make_zero_rates(values.size), zeros)
    shape = coding_shape(values.shape)
    if values.size < FEW:
        levels = levels.reshape(shape)
        return _choose_levels(values, states, rate, start_rates(levels, states, plain_params(levels), rate), zeros)
    rows = max(16, LEARN // (shape[1] * shape[2]))
    params = estimate_params(levels.reshape(shape), states)
    few, first = levels[:rows], values[:rows]
    for _ in range(passes):
        found = measure_rates(few.reshape(-1, *shape[1:]), states, params, rate)
        few = _choose_levels(first, states, rate, found, zeros)
        if not few.any():
            break
    if len(few) == len(levels):
        return few
    alike = _round_nearest(values, states, _match_rounding(few, first, states))
    return _choose_levels(values, states, rate, rebase(found, alike.reshape(shape), states, params), zeros)


def quantize_in_lanes(
    weights: npt.NDArray[np.float32],
    states: States,
    rate: float = 0.0,
    passes: int = 2,
    zeros: bool = False,
    step: float = 1.0,
) -> Levels:
    """Levels for the static coder: with its prices, and with a separate trellis for each of its lanes."""
    values, largest = _in_steps(weights, step)
    if (states == 0 and rate <= 0) or _are_zeros(largest, states):
        return _round_nearest(values, states, MIDDLE)
    if rate <= 0:
        return _choose_in_lanes(values, states, rate, no_rates(values.shape), zeros)
    scales = static_fit.scales_of(values)
    every = max(1, values.size // LEARN)
    part = np.ascontiguousarray(values[::every])
    few = _round_nearest(part, states, MIDDLE)
    own = Scales(scales.rows[::every].copy(), scales.channels, scales.taps)
    for _ in range(passes):
        tables = static_fit.tables_of(static_fit.codes_of(few, states), own, states)
        few = _choose_in_lanes(part, states, rate, rates_of(own, tables, rate), zeros)
        if not few.any():
            break
    if len(few) == len(values):
        return few
    tables = static_fit.tables_of(static_fit.codes_of(few, states), own, states)
    return _choose_in_lanes(values, states, rate, rates_of(scales, tables, rate), zeros)


def _choose_in_lanes(
    values: npt.NDArray[np.float32], states: States, rate: float, found: LaneRates, zeros: bool
) -> Levels:
    levels, scales = np.empty(values.shape, np.int32), found.scales
    flat, chosen = values.reshape(len(values), -1), levels.reshape(len(levels), -1)
    kernel.choose_in_lanes(
        flat, states, rate, scales.rows, scales.columns, found.classes, found.bits, found.sizes, chosen, zeros=zeros
    )
    return levels


def _in_steps(weights: npt.NDArray[np.float32], step: float) -> tuple[npt.NDArray[np.float32], float]:
    """The weights in units of the step, and their largest magnitude."""
    values = np.empty(weights.shape, np.float32)
    flat = np.ascontiguousarray(weights, np.float32).reshape(-1)
    return values, rounding_kernel.divide(flat, step, MAX_INPUT, values.reshape(-1))


def _round_nearest(values: npt.NDArray[np.float32], states: States, offset: float) -> Levels:
    """The nearest levels, without rates: an initial estimate."""
    levels = np.empty(values.shape, np.int32)
    rounding_kernel.to_levels(values.reshape(-1), *_find_rounding(states, offset), levels.reshape(-1))
    return levels


def _find_rounding(states: States, offset: float) -> tuple[float, float]:
    """The factor and the offset with which the integer part of a magnitude is its level."""
    return (0.5, offset) if states else (1.0, offset - MIDDLE + 0.5)


def _are_zeros(largest: float, states: States) -> bool:
    """Whether all levels of magnitudes up to `largest` are 0."""
    scale, offset = _find_rounding(states, MIDDLE)
    return bool(np.float32(largest) * np.float32(scale) + np.float32(offset) < 1)


def _match_rounding(levels: Levels, values: npt.NDArray[np.float32], states: States) -> float:
    """The offset at which rounding gives magnitudes with the same mean as the chosen levels."""
    mean = np.abs(levels).mean()
    return min(OFFSETS, key=lambda offset: abs(float(np.abs(_round_nearest(values, states, offset)).mean() - mean)))


def _choose_levels(
    values: npt.NDArray[np.float32], states: States, rate: float, found: RateTables, zeros: bool
) -> Levels:
    levels = np.empty(values.shape, np.int32)
    kernel.choose(
        values.reshape(-1),
        states,
        rate,
        sparse=found.sparse,
        predicted=len(found.predictions) > 0,
        contexts=found.contexts,
        predictions=found.predictions,
        bits=found.bits,
        sizes=found.sizes,
        slopes=found.slopes,
        levels=levels.reshape(-1),
        zeros=zeros,
    )
    return levels


def _make_zero_rates(count: int) -> RateTables:
    """Rates for a quantiser that ignores them."""
    none = np.zeros(0, np.int32)
    return RateTables(
        False,
        np.zeros((count, 2), np.uint16),
        none,
        np.zeros((STATE_COUNT, 2), np.float32),
        np.zeros((1024, 32), np.float32),
        np.zeros(64, np.float32),
    )
