"""The encoder's search for scales and tables of the static coder: first from margins, then by the number of bits.

All decisions use integers, or values that are rounded far more coarsely than the logarithms of two machines differ.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy.static_model import MAX_CLASSES, MAX_CODE, Codes, Scales, Tables
from wcodec.kernels.static import fit as kernel
from wcodec.kernels.static.tables import GROUPS, MAX_HAZARD, starts
from wcodec.model.dataclass import replace

Counts = npt.NDArray[np.int64]
Prices = npt.NDArray[np.int32]
Add = Callable[[Codes, Codes, npt.NDArray[np.uint16], Codes, Prices, Counts], None]
STARTS: Final = np.array(starts())
STEPS: Final = 4
"""Scale codes an octave."""
ROUNDS: Final = 2
BEND: Final = 256
"""The price of a code that differs from the margin's, in 1/256 bit."""
EDGE: Final = 1 / 256
"""Classes at either end with less than this fraction of the levels are merged with their neighbour."""
_THRESHOLDS: Final = np.array([isqrt(isqrt(isqrt(1 << 2 * code + 1))) for code in range(50 * STEPS)])
"""The means, in 1/65536, at which the code increases by one: 2 ** ((code + 1/2) / 4)."""
_ODDS: Final = np.array([(4 + (code & 3)) << (code >> 2) for code in range(MAX_HAZARD + 1)]) / 1024
_MIDDLES: Final = np.sqrt(_ODDS[1:] * _ODDS[:-1])
_BITS: Final = np.round(256 * (12 - np.log2(np.maximum(1, np.arange(4097))))).astype(np.int32)
"""The price of a symbol with this number of slots, in 1/256 bit."""
ESCAPE: Final = 12 * 256


def scales_of(values: npt.NDArray[np.float32]) -> Scales:
    """Scales of float32[rows, channels, taps], which levels will represent."""
    rows, columns = np.zeros(len(values), np.int64), np.zeros(values[0].size, np.int64)
    kernel.add_magnitudes(values.reshape(len(values), -1), rows, columns)
    return _fit_scales(rows, columns.reshape(values.shape[1:]))


def _fit_scales_of_codes(codes: Codes, taps: int, states: int) -> Scales:
    rows, columns = np.zeros(len(codes), np.int64), np.zeros(codes.shape[1], np.int64)
    kernel.add_code_magnitudes(codes, states > 0, rows, columns)
    return _fit_scales(rows, columns.reshape(-1, taps))


def _fit_scales(of_rows: Counts, of_columns: Counts) -> Scales:
    """Scales from sums of magnitudes: proportional fitting of a full table gives a product of margins."""
    (rows,), (channels, taps) = of_rows.shape, of_columns.shape
    middle = _code_means(np.array([of_rows.sum() * 256 // (rows * channels * taps)]))
    row = _code_means(of_rows * 256 // (channels * taps))
    channel = _code_means(of_columns.sum(1) * 256 // (rows * taps)) - middle
    tap = _code_means(of_columns.sum(0) * 256 // (rows * channels)) - middle if taps > 1 else np.zeros(1, np.int64)
    return Scales(*map(_shift_from_zero, (row, channel, tap)))


def _code_means(means: Counts) -> Counts:
    """Means in 1/65536 as codes, `STEPS` an octave."""
    return np.searchsorted(_THRESHOLDS, np.maximum(means, 1), "right").astype(np.int64)


def _shift_from_zero(codes: Counts) -> Codes:
    """Shifted so that `ROUNDS` steps down remain possible."""
    moved: Codes = np.minimum(codes - codes.min() + ROUNDS, MAX_CODE).astype(np.uint8)
    return moved


def codes_of(levels: npt.NDArray[np.int32], states: int) -> Codes:
    """uint8[rows, columns] of int32[rows, channels, taps]: 2 * magnitude, at most 127, + the current quantiser."""
    flat = np.ascontiguousarray(levels).reshape(len(levels), -1)
    codes = np.empty(flat.shape, np.uint8)
    kernel.fill_codes(flat, states, codes)
    return codes


def tables_of(codes: Codes, scales: Scales, states: int) -> Tables:
    """The tables that fit codes of levels with these scales."""
    every = np.zeros((min(256, scales.largest + 1), 256), np.int64)
    kernel.count(codes, scales.rows, scales.columns, _find_classes(len(every), 0, scales.largest), every)
    first, last = _find_ends(every.sum(1))
    counts = every[first : last + 1].copy()
    counts[0] += every[:first].sum(0)
    counts[-1] += every[last + 1 :].sum(0)
    quantisers = 2 if states else 1
    return _design_tables(counts.reshape(len(counts), 128, 2)[:, :, :quantisers], first)


def _find_classes(count: int, first: int, largest: int) -> Codes:
    """Classes of scales from -1 to `largest` + 1."""
    return np.clip(np.arange(-1, largest + 2) - first, 0, count - 1).astype(np.uint8)


def _find_ends(held: Counts) -> tuple[int, int]:
    """The first and the last class with tables of their own."""
    total = int(held.sum())
    least = min(total, max(64, int(total * EDGE)))
    first = int(np.searchsorted(held.cumsum(), least))
    last = max(first, len(held) - 1 - int(np.searchsorted(held[::-1].cumsum(), least)))
    return first, min(last, first + MAX_CLASSES - 1)


def _design_tables(counts: Counts, first: int) -> Tables:
    """Tables for counts[class, magnitude, quantiser]."""
    classes = len(counts)
    own = counts.transpose(0, 2, 1).astype(np.float64)
    near = np.zeros_like(own)
    near[1:] += own[:-1]
    near[:-1] += own[1:]
    held = (own + near / 64).reshape(-1, 128)
    held[:, 0] += 1 / 1024
    total = held.sum(1)
    beyond = held[:, ::-1].cumsum(1)[:, ::-1]  # counts of this magnitude or more
    groups = (
        np.argmax(np.concatenate((beyond, np.zeros((len(held), 1))), 1)[:, STARTS[1:]] <= total[:, None] / 16384, 1) + 1
    )
    ends = STARTS[groups]
    # Every symbol has a slot before the rest is shared out; what is left to share is what hazards must fit.
    magnitudes = np.arange(128)
    slot = total / 4096
    rest = held - np.where(magnitudes == 0, 1, 2) * slot[:, None]
    inside = magnitudes[None] < ends[:, None]
    rest = np.where(inside, np.maximum(rest, 0), 0)
    tail = np.maximum(np.where(inside, 0, held).sum(1) - slot, 0)
    above = rest[:, ::-1].cumsum(1)[:, ::-1] + tail[:, None]
    ended = np.add.reduceat(rest, STARTS[:-1], 1)
    passed = np.add.reduceat(above, STARTS[:-1], 1) - ended
    hazards = np.searchsorted(_MIDDLES, (ended + 1e-9) / (passed + 1e-6)).astype(np.uint8)
    return Tables(classes, first, groups.astype(np.uint8), hazards[np.arange(GROUPS)[None] < groups[:, None]])


def prices_of(tables: Tables) -> Prices:
    """int32[classes, 256]: bits, in 1/256, of every code of `codes_of`, with the sign."""
    frequencies = tables.frequencies
    bits = _BITS[frequencies[:, 128:]]
    bits = np.where(frequencies[:, 128:], bits, _BITS[frequencies[:, :1]] + ESCAPE)
    prices = np.zeros((tables.classes, 128, 2), np.int32)
    prices[:, :, : tables.quantisers] = bits.reshape(tables.classes, tables.quantisers, 128).transpose(0, 2, 1)
    return prices.reshape(tables.classes, 256)


def refine(scales: Scales, tables: Tables, codes: Codes) -> Scales:
    """Scales in which rows, then channels and taps, are changed by one where that costs fewer bits."""
    scales = replace(
        scales, rows=_move_codes(scales.rows, _compute_costs(scales, tables, codes, kernel.add_prices_of_rows, 0))
    )
    costs = _compute_costs(scales, tables, codes, kernel.add_prices_of_columns, 1)
    costs = costs.reshape(len(scales.channels), len(scales.taps), 3)
    scales = replace(scales, channels=_move_codes(scales.channels, costs.sum(1)))
    if len(scales.taps) > 1:
        scales = replace(scales, taps=_move_codes(scales.taps, costs.sum(0)))
    return scales


def _compute_costs(scales: Scales, tables: Tables, codes: Codes, add: Add, axis: int) -> Counts:
    """Bits, in 1/256, of rows (axis 0) or of columns with scales one smaller, equal, and one larger."""
    costs = np.zeros((codes.shape[axis], 3), np.int64)
    classes = _find_classes(tables.classes, tables.first, scales.largest)
    add(codes, scales.rows, scales.columns, classes, prices_of(tables), costs)
    return costs


def _move_codes(codes: Codes, costs: Counts) -> Codes:
    """Each code changed by one where that saves at least `BEND`."""
    costs = costs + np.array([BEND, 0, BEND])
    costs[codes == 0, 0] = costs[:, 1][codes == 0] + 1
    costs[codes == MAX_CODE, 2] = costs[:, 1][codes == MAX_CODE] + 1
    moved: Codes = (codes + costs.argmin(1) - 1).astype(np.uint8)
    return moved


def fit_scales(levels: npt.NDArray[np.int32], states: int, rounds: int = ROUNDS) -> tuple[Scales, Tables]:
    """Scales and tables for levels int32[rows, channels, taps] in lanes with trellises of this many states."""
    codes = codes_of(levels, states)
    scales = _fit_scales_of_codes(codes, levels.shape[2], states)
    for _ in range(rounds):
        scales = refine(scales, tables_of(codes, scales, states), codes)
    scales = Scales(*(part - part.min() for part in (scales.rows, scales.channels, scales.taps)))
    return scales, tables_of(codes, scales, states)
