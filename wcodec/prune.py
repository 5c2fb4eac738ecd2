"""Magnitude pruning (Han, Pool, Tran and Dally 2015): weights near 0 become 0. Encoder only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from wcodec.errors import RecipeError

Floats = npt.NDArray[np.float32]
Rule: TypeAlias = Literal["absolute", "deviations", "sparsity"]
_INFINITY: Final = 0x7F800000
_LOW_BITS: Final = 16


@dataclass(frozen=True)
class Prune:
    """What to prune from a tensor.

    rule:   "absolute": magnitudes up to `amount`; "deviations": up to `amount` standard deviations of the tensor's weights
            (Han); "sparsity": the fraction `amount` of all weights, smallest magnitudes first.
    Raises: RecipeError when `amount` is not a number that the rule knows.
    """

    rule: Rule
    amount: float

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise RecipeError(f"prune: expected one of {', '.join(get_args(Rule))}, got {self.rule!r}")
        top = 1.0 if self.rule == "sparsity" else math.inf
        if not 0 <= self.amount <= top or math.isinf(self.amount):
            raise RecipeError(f"prune by {self.rule}: expected a number from 0 to {top:g}, got {self.amount}")


def threshold_of(weights: Floats, prune: Prune) -> float:
    """The largest magnitude that `prune` removes from float32[...]; 0.0 where it removes none."""
    if prune.rule == "absolute":
        return prune.amount
    if prune.rule == "deviations":
        finite = weights[np.isfinite(weights)].astype(np.float64)
        return prune.amount * float(finite.std()) if len(finite) else 0.0
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
    """A float32[...] copy pruned as requested; by sparsity exactly round(amount * n) weights, the earlier of equals first."""
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

    `weights()` gives the tensors, float32[...], one at a time; it is called twice, and memory is bounded by the largest.
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
