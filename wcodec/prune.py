"""Magnitude pruning (Han, Pool, Tran and Dally 2015): weights near 0 become 0. Encoder only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.recipe import Prune

Floats = npt.NDArray[np.float32]
_INFINITY: Final = 0x7F800000
_LOW_BITS: Final = 16

def threshold_of(weights: Floats, prune: Prune) -> float:
    """The largest magnitude that `prune` removes from float32[...]; 0.0 where it removes none."""
    if prune.rule == "absolute":
        return prune.amount
    if prune.rule == "deviations":
        finite = weights[np.isfinite(weights)].astype(np.float64)
        spread = float(finite.std()) if len(finite) else 0.0
        return prune.amount * spread if spread else 0.0
    count = pruned_count(weights.size, prune.amount)
    if count == 0:
        return 0.0
    magnitudes = _magnitudes(weights)
    magnitudes.partition(count - 1)
    return _magnitude_of(int(magnitudes[count - 1]))


def prune(weights: Floats, threshold: float) -> Floats:
    """A float32[...] copy with every |w| <= threshold at 0; not-a-number survives."""
    kept = np.ascontiguousarray(weights, np.float32).copy()
    kept[np.abs(kept) <= threshold] = 0.0
    return kept


def prune_by(weights: Floats, request: Prune) -> Floats:
    """A float32[...] copy, pruned as requested.

    By sparsity exactly `pruned_count` weights go, of equal magnitudes the earlier ones.
    """
    threshold = threshold_of(weights, request)
    if request.rule != "sparsity":
        return prune(weights, threshold)
    kept = np.ascontiguousarray(weights, np.float32).copy()
    flat = kept.reshape(-1)
    magnitudes = np.abs(flat)
    below = magnitudes < threshold
    equal = np.flatnonzero(magnitudes == threshold)
    flat[below] = 0.0
    flat[equal[: pruned_count(flat.size, request.amount) - np.count_nonzero(below)]] = 0.0
    return kept


def pruned_count(count: int, sparsity: float) -> int:
    """How many of `count` weights the sparsity removes: the nearest integer, halves up."""
    return min(int(sparsity * count + 0.5), count)


def global_threshold(weights: Callable[[], Iterable[Floats]], sparsity: float) -> float:
    """The threshold that prunes the fraction `sparsity` of the weights of all tensors together, ties included.

    `weights()` gives the tensors, float32[...], one at a time; it is called twice, memory is bounded by the largest.
    """
    Prune("sparsity", sparsity)
    high = np.zeros(1 << (32 - _LOW_BITS), np.int64)
    for tensor in weights():
        high += np.bincount(_magnitudes(tensor) >> _LOW_BITS, minlength=len(high))
    count = pruned_count(int(high.sum()), sparsity)
    if count == 0:
        return 0.0
    top = int(np.searchsorted(np.cumsum(high), count))
    before = int(high[:top].sum())
    low = np.zeros(1 << _LOW_BITS, np.int64)
    for tensor in weights():
        magnitudes = _magnitudes(tensor)
        inside = magnitudes[magnitudes >> _LOW_BITS == top] & (len(low) - 1)
        low += np.bincount(inside, minlength=len(low))
    rest = int(np.searchsorted(np.cumsum(low), count - before))
    return _magnitude_of(top << _LOW_BITS | rest)


def _magnitudes(weights: Floats) -> npt.NDArray[np.int32]:
    """A copy of |w| as bit patterns, int32[n]: they sort as the magnitudes do, not-a-number last."""
    flat = np.ascontiguousarray(weights, np.float32).reshape(-1)
    return flat.view(np.int32) & np.int32(0x7FFFFFFF)


def _magnitude_of(pattern: int) -> float:
    """The magnitude of a bit pattern; infinity for not-a-number, which is never pruned."""
    return float(np.array(min(pattern, _INFINITY), np.int32).view(np.float32))
