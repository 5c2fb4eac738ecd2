"""Search for good parameters of the context coder: candidates are fitted, and their cost is measured on the levels."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, Literal

import numpy as np

from wcodec.codec.entropy.context_fit import fit_lags, fit_weights
from wcodec.codec.entropy.context_params import (
    FEATURES,
    LAGS,
    MOST_OFFSET,
    OFFSET,
    PRESETS,
    ContextParams,
    ContextTrace,
    Levels,
    encode_levels,
    scale,
)
from wcodec.kernels.trellis import search as trellis
from wcodec.model.dataclass import replace

Effort = Literal["fast", "normal", "best"]

TRIAL_WEIGHTS = 100_000
FIT_SAMPLES = 60_000
SURE_WEIGHTS = 150_000
"""Larger chunks are coded with the largest number of fitted weight sets, without a trial of fewer."""
FIT_LEAST = 2_000
SETS_LEAST = 20_000
LAGS_LEAST = 4_000
MOST_PREDICTED = 1 << 24


_SCALES: Final = [scale(code) for code in range(256)]


def start_code(mean: float) -> int:
    """The byte whose `scale` is nearest to `mean`."""
    return bisect_right(_SCALES, mean) - 1


def choose_params(levels: Levels, states: int, effort: Effort) -> ContextParams:
    """The parameters with the fewest bytes for int32[rows, channels, taps], as far as `effort` searches."""
    if effort == "fast":
        return plain_params(levels)
    part = levels if effort == "best" else _take_rows(levels, TRIAL_WEIGHTS)
    trials = []
    for candidate in _list_candidates(levels, part, states):
        fits = fit_candidates(
            part if effort == "best" else _take_rows(levels, FIT_SAMPLES), levels.size, states, candidate
        )
        sure = effort == "normal" and levels.size > SURE_WEIGHTS
        trials += fits[-1:] if sure and fits else [candidate, *fits]
    return _find_cheapest(trials, part, states, len(part) / len(levels))


def plain_params(levels: Levels) -> ContextParams:
    """The likelier of dense and sparse, without a fit or trials."""
    return _choose_plain(levels)[0]


def estimate_params(levels: Levels, states: int) -> ContextParams:
    """An estimate of the result of `choose_params`, for initial prices: only a predictor is fitted."""
    part = _take_rows(levels, TRIAL_WEIGHTS // 2)
    return _find_cheapest(_list_candidates(levels, part, states), part, states, len(part) / len(levels))


def _take_rows(levels: Levels, count: int) -> Levels:
    """The first rows with about this many weights, at least 16."""
    return levels[: max(16, count // levels[0].size)]


def _find_cheapest(trials: list[ContextParams], part: Levels, states: int, share: float) -> ContextParams:
    """The cheapest candidate by the true cost of a part, which is the given share of the whole."""
    if len(trials) == 1:
        return trials[0]
    costs = [
        len(encode_levels(part, params, states)[0]) - estimate_side_bytes(params) * (1 - share) for params in trials
    ]
    return trials[int(np.argmin(costs))]


def _choose_plain(levels: Levels) -> list[ContextParams]:
    """The likelier of dense and sparse, and the other one if it may win."""
    density = np.count_nonzero(levels) / levels.size
    dense = ContextParams(start=start_code(float(np.abs(levels).sum(dtype=np.int64)) / levels.size * 256))
    sparse = ContextParams(sparse=True, start=start_code(density * 4096))
    return [sparse, dense] if density < 0.25 else [dense, sparse] if density < 0.5 else [dense]


def _list_candidates(levels: Levels, part: Levels, states: int) -> list[ContextParams]:
    """The candidates to fit: dense and sparse, with and without prediction."""
    _, channels, taps = levels.shape
    candidates = _choose_plain(levels)
    largest = max(int(levels.max()), -int(levels.min()))
    if taps == 1 and channels > 2 and levels.size >= LAGS_LEAST and largest <= MOST_PREDICTED:
        candidates += add_lags(levels, states, candidates)
    middle = _find_median(part)
    if 0 < abs(middle) <= MOST_OFFSET and largest <= MOST_PREDICTED:
        spread = float(np.abs(levels - np.float64(middle)).mean()) * 256
        candidates.append(ContextParams(start=start_code(spread), predictor=OFFSET, offset=middle))
    return candidates


def _find_median(levels: Levels) -> int:
    """The median, as of np.median, which takes longer than the rest of the work for few levels."""
    low, high = (levels.size - 1) // 2, levels.size // 2
    ordered = np.partition(levels, (low, high), axis=None)
    return int((int(ordered[low]) + int(ordered[high])) / 2)


def estimate_side_bytes(params: ContextParams) -> float:
    """The approximate bytes of weights and coefficients."""
    return 0.75 * (params.side.size + (0 if params.weights is None else np.count_nonzero(params.weights)))


def add_lags(levels: Levels, states: int, candidates: list[ContextParams]) -> list[ContextParams]:
    """The candidates with a linear prediction from neighbours added, if one explains enough."""
    rows = max(3, FIT_SAMPLES // levels.shape[1])
    values = _reconstruct(levels[:rows], states)[:, :, 0].astype(np.float32)
    up, back, side, share = fit_lags(np.clip(values, -32767, 32767), 1)
    if not up or -0.5 * levels.size * np.log2(max(1e-6, 1 - share)) < 100 + 16 * len(up):
        return []
    return [replace(params, predictor=LAGS, up=up, back=back, side=side) for params in candidates]


def _reconstruct(levels: Levels, states: int) -> Levels:
    if not states:
        return levels
    values = np.empty(levels.shape, np.int32)
    trellis.replay(np.ascontiguousarray(levels).reshape(-1), states, values.reshape(-1))
    return values


def fit_candidates(levels: Levels, size: int, states: int, params: ContextParams) -> list[ContextParams]:
    """`params` with weights fitted to `levels`, the first rows of `size` weights; unchanged for few."""
    rows, channels, taps = levels.shape
    if size < FIT_LEAST:
        return []
    every = max(1, levels.size // FIT_SAMPLES)
    samples = np.zeros((-(-rows // every) * channels * taps, FEATURES + 2), np.int32)  # rows of zeros give none
    preset = PRESETS[params.sparse, taps > 1]
    if taps == 1 and size >= LAGS_LEAST and channels > 8:
        params = replace(params, near=find_near_lags(levels[: max(3, FIT_SAMPLES // channels), :, 0], params.sparse))
    watch = ContextTrace(samples=samples, every=every, quiet=True)
    encode_levels(levels, replace(params, weights=np.array([preset], np.int32)), states, watch)
    if not samples.any():
        return []
    candidates = [replace(params, weights=fit_weights(samples, taps, 1, preset))]
    if 1 < taps <= 25 and size >= SETS_LEAST:
        candidates.append(replace(params, weights=fit_weights(samples, taps, taps, preset)))
    return candidates


def find_near_lags(levels: Levels, sparse: bool) -> tuple[int, int]:
    """The two lags above 3, of [rows, columns], whose magnitudes correlate most with a level's own."""
    sizes = (levels != 0).astype(np.float32) if sparse else np.minimum(np.abs(levels), 1023).astype(np.float32)
    sizes -= sizes.mean()
    spectrum = np.abs(np.fft.rfft(sizes, 2 * levels.shape[1], axis=1)) ** 2
    related = np.fft.irfft(spectrum.sum(axis=0))[4 : min(levels.shape[1], 257)]
    first, second, *_ = np.argsort(-related, kind="stable")
    return int(first) + 4, int(second) + 4
