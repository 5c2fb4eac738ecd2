"""Meeting a target with little more than one encoding: estimates from samples, then a correction of few tensors.

Bytes and errors are smooth in the logarithm of the step, and samples predict their changes much better than their
values. All tensors are therefore coded with the steps that the samples suggest, which misses the target by some
percent. Then the steps of some tensors are changed, using the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

from wcodec.model.dataclass import dataclass
from wcodec.planning.rate_control import Target

_ATTEMPTS: Final = 4
_CLOSE: Final = 0.002
"""The tolerance of estimates, as a logarithm."""
_FAR: Final = 0.1
"""If estimates miss the target by more than this, it cannot be met."""
_GRID: Final = 256
"""The number of step sizes in an octave, so that the choice does not depend on the last bit of a logarithm."""
_MOVE: Final = 0.25
"""The largest change of the steps of corrected tensors, in octaves."""
_STEPS: Final = 8

Sizes = Mapping[int, float]
"""The factor on the step, by number of a tensor."""
Amounts = Mapping[int, float]
"""The contribution to the measure, by number of a tensor."""


@dataclass(frozen=True)
class EncodingMeasure:
    """The measurements of an encoding: the target's measure, each tensor's share, and the tensors' errors."""

    value: float
    amounts: Amounts
    errors: Amounts


def meet_target(
    target: Target,
    counts: Mapping[int, int],
    start: float,
    fixed: float,
    estimate: Callable[[Sizes], Amounts],
    measure: Callable[[Sizes], EncodingMeasure],
) -> bool:
    """Encode a few times, and return whether the last encoding closely meets the target.

    counts:   the number of weights of each tensor that has a step.
    start:    the initial factor on all steps.
    fixed:    an estimate for the other tensors.
    estimate: contributions by samples.
    measure:  encodes.
    """
    aim = target.bound * (1 + target.close) / 2
    size = _solve(lambda size: fixed + sum(estimate(dict.fromkeys(counts, size)).values()), aim, start, target.power)
    if size is None:
        return False
    sizes = dict.fromkeys(counts, size)
    for _ in range(_ATTEMPTS):
        found = measure(sizes)
        if target.close * target.bound <= found.value <= target.bound:
            return True
        before = estimate(sizes)
        part = {number: found.amounts[number] / max(before[number], 1e-300) for number in counts}
        chosen = _choose_tensors(target, counts, found, aim)
        rest = found.value - sum(found.amounts[number] for number in chosen)
        own = {number: sizes[number] for number in chosen}

        def total(factor: float, own: Sizes = own, part: Amounts = part, rest: float = rest) -> float:
            """The measure where the steps of these tensors are so many times what they were."""
            amounts = estimate({number: _round_to_grid(size * factor) for number, size in own.items()})
            return rest + sum(part[number] * amount for number, amount in amounts.items())

        factor = _solve(total, aim, 1.0, target.power)
        if factor is None:
            return False
        sizes |= {number: _round_to_grid(size * factor) for number, size in own.items()}
    return False


def _round_to_grid(size: float) -> float:
    return float(2.0 ** (round(math.log2(size) * _GRID) / _GRID))


def _choose_tensors(target: Target, counts: Mapping[int, int], found: EncodingMeasure, aim: float) -> Collection[int]:
    """The smallest set of tensors whose steps, changed by `_MOVE`, change the measure enough; or all.

    Steps grow for tensors with the least error a weight, and shrink for those with the most, so that no error is
    wasted.
    """

    def reach(number: int) -> float:
        if target.power > 0:
            return found.amounts[number] * (2 ** (_MOVE * target.power) - 1)
        return counts[number] * _MOVE / 8 if found.amounts[number] > 0 else 0.0

    grows = (found.value < aim) == (target.power > 0)
    ranks = {number: found.errors[number] / count * (1 if grows else -1) for number, count in counts.items()}
    need, chosen = abs(found.value - aim), list[int]()
    for number in sorted(counts, key=lambda number: (ranks[number], number)):
        if need > 0 and reach(number) > 0:
            chosen.append(number)
            need -= reach(number)
    if need > 0:
        return set(counts)
    for number in sorted(chosen, key=lambda number: (-counts[number], number)):
        if need + reach(number) <= 0:  # enough without this tensor
            chosen.remove(number)
            need += reach(number)
    return chosen


def _solve(total: Callable[[float], float], aim: float, start: float, power: float) -> float | None:
    """The point at which `total`, approximately a power of x, is `aim`, by secants of logarithms; or None."""
    at, slope = math.log2(start), power * math.log(2)
    last: tuple[float, float] | None = None
    best = (math.inf, start)
    for _ in range(_STEPS):
        x = _round_to_grid(2.0**at)
        miss = math.log(max(total(x), 1e-300) / aim)
        best = min(best, (abs(miss), x))
        if abs(miss) < _CLOSE:
            break
        if last and abs(last[0] - at) > 1e-9 and (miss - last[1]) / (at - last[0]) * slope > 0:
            slope = (miss - last[1]) / (at - last[0])
        last = (at, miss)
        at -= max(-3.0, min(3.0, miss / slope))
    return best[1] if best[0] < _FAR else None
