"""Magnitude pruning (Han, Pool, Tran and Dally 2015): weights near 0 become 0. Encoder only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.plan import Prune

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
_INFINITY: Final = 0x7F800000
_LOW_BITS: Final = 16
BLOCK: Final = 1 << 20
LARGEST: Final = float(np.finfo(np.float32).max)


def find_threshold(weights: Floats, prune: Prune) -> float:
    """The largest magnitude that `prune_below` removes from float32[...]; 0.0 if it removes none."""
    if prune.rule == "absolute":
        return min(prune.amount, LARGEST)
    if prune.rule == "deviations":
        finite = weights[np.isfinite(weights)].astype(np.float64)
        spread = float(finite.std()) if len(finite) else 0.0
        return min(prune.amount * spread, LARGEST) if spread else 0.0
    count = count_pruned(weights.size, prune.amount)
    return magnitude_of_rank(weights, count - 1) if count else 0.0


def prune_below(weights: Floats, threshold: float) -> Floats:
    """A float32[...] copy with every |w| <= threshold at 0; not-a-number survives."""
    kept = np.array(weights, np.float32, order="C")
    for block in iterate_blocks(kept):
        block[np.abs(block) <= threshold] = 0.0
    return kept


def prune_weights(weights: Floats, request: Prune) -> Floats:
    """A float32[...] copy, pruned as requested.

    A sparsity removes exactly `count_pruned` weights; of equal magnitudes the earlier ones.
    """
    threshold = find_threshold(weights, request)
    if request.rule != "sparsity":
        return prune_below(weights, threshold)
    kept = np.array(weights, np.float32, order="C")
    left = count_pruned(kept.size, request.amount)
    left -= sum(int(np.count_nonzero(np.abs(block) < threshold)) for block in iterate_blocks(kept))
    for block in iterate_blocks(kept):
        magnitudes = np.abs(block)
        equal = np.flatnonzero(magnitudes == threshold)[:left]
        left -= len(equal)
        block[magnitudes < threshold] = 0.0
        block[equal] = 0.0
    return kept


def count_pruned(count: int, sparsity: float) -> int:
    """The number of weights that the sparsity removes: rounded to the nearest integer, halves up."""
    return min(int(sparsity * count + 0.5), count)


def global_threshold(weights: Callable[[], Iterable[Floats]], sparsity: float) -> float:
    """The threshold that prunes the fraction `sparsity` of the weights of all tensors together, ties included.

    `weights()` gives the tensors, float32[...], one at a time. It is called twice; memory is bounded by the largest
    tensor.
    """
    Prune("sparsity", sparsity)
    return threshold_of(lambda high: count_magnitudes(weights(), high), sparsity)


def threshold_of(counts: Callable[[int | None], Counts], sparsity: float) -> float:
    """The threshold, from the result of `count_magnitudes` for all weights."""
    count = count_pruned(int(counts(None).sum()), sparsity)
    return magnitude_at(counts, count - 1) if count else 0.0


def magnitude_of_rank(weights: Floats, rank: int) -> float:
    """The magnitude of this rank (see `magnitude_at`) in one float32[...]."""
    if weights.size > BLOCK:
        return magnitude_at(lambda high: count_magnitudes((weights,), high), rank)
    magnitudes = _compute_magnitudes(weights)
    magnitudes.partition(rank)
    return _read_magnitude(int(magnitudes[rank]))


def magnitude_at(counts: Callable[[int | None], Counts], rank: int) -> float:
    """The magnitude with `rank` smaller or equal ones before it; NaN is sorted last.

    counts: gives the result of `count_magnitudes` for all weights; it is called twice, so memory does not grow with the
            arrays.
    """
    high = counts(None)
    top = int(np.searchsorted(np.cumsum(high), rank + 1))
    before = int(high[:top].sum())
    rest = int(np.searchsorted(np.cumsum(counts(top)), rank + 1 - before))
    return _read_magnitude(top << _LOW_BITS | rest)


def count_magnitudes(weights: Iterable[Floats], high: int | None) -> Counts:
    """Counts int64[2^16] of the upper halves of the magnitudes' bits, over a sequence of float32[...].

    high: count the lower halves instead, of magnitudes with this upper half.
    """
    counts = np.zeros(1 << _LOW_BITS, np.int64)
    for block in _iterate_all_blocks(weights):
        magnitudes = _compute_magnitudes(block)
        if high is None:
            halves = magnitudes >> _LOW_BITS
        else:
            halves = magnitudes[magnitudes >> _LOW_BITS == high] & (len(counts) - 1)
        counts += np.bincount(halves, minlength=len(counts))
    return counts


def iterate_blocks(weights: Floats) -> Iterator[Floats]:
    """Flat views of float32[...] in C order that cover all of it."""
    flat = weights.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        yield flat[start : start + BLOCK]


def _iterate_all_blocks(weights: Iterable[Floats]) -> Iterator[Floats]:
    for each in weights:
        yield from iterate_blocks(np.ascontiguousarray(each, np.float32))


def _compute_magnitudes(weights: Floats) -> npt.NDArray[np.int32]:
    """A copy of |w| as bit patterns, int32[n], which sort as the magnitudes do, with NaN last."""
    flat = np.ascontiguousarray(weights, np.float32).reshape(-1)
    return flat.view(np.int32) & np.int32(0x7FFFFFFF)


def _read_magnitude(pattern: int) -> float:
    """The magnitude of a bit pattern; infinity for NaN, which is never pruned."""
    return float(np.array(min(pattern, _INFINITY), np.int32).view(np.float32))
