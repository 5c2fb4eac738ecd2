"""Meeting a target in little more than one encoding: by samples first, then by a correction of few tensors.

Bytes and errors are smooth in the logarithm of the step, and samples tell how they change much better than what they
are. So all tensors are coded by the size of steps that the samples ask for, which misses the target by some percent;
then some tensors get other steps, by what was measured of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

from wcodec.model.lazy import dataclass
from wcodec.planning.rate_control import Target

_ATTEMPTS: Final = 4
_CLOSE: Final = 0.002
"""What estimates may miss, as a logarithm."""
_FAR: Final = 0.1
"""Estimates that miss the target by more cannot meet it."""
_GRID: Final = 256
"""Sizes an octave: what is chosen does not hang on the last bit of a logarithm."""
_MOVE: Final = 0.25
"""Octaves that the steps of the corrected tensors may move."""
_STEPS: Final = 8

Sizes = Mapping[int, float]
"""By number of a tensor: what multiplies its step."""
Amounts = Mapping[int, float]
"""By number of a tensor: its part of what is measured."""


@dataclass(frozen=True)
class Measured:
    """What an encoding came to: the measure of the target, the amount of each tensor in it, and the tensors' errors."""

    value: float
    amounts: Amounts
    errors: Amounts


def meet_target(
    target: Target,
    counts: Mapping[int, int],
    start: float,
    fixed: float,
    estimate: Callable[[Sizes], Amounts],
    measure: Callable[[Sizes], Measured],
) -> bool:
    """Whether the last of a few encodings meets the target closely.

    counts:   weights of each tensor that has a step.
    start:    a size to begin with, for all of them.
    fixed:    what the others are guessed to add.
    estimate: amounts by samples; measure: encodes.
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
            amounts = estimate({number: _on_grid(size * factor) for number, size in own.items()})
            return rest + sum(part[number] * amount for number, amount in amounts.items())

        factor = _solve(total, aim, 1.0, target.power)
        if factor is None:
            return False
        sizes |= {number: _on_grid(size * factor) for number, size in own.items()}
    return False


def _on_grid(size: float) -> float:
    return float(2.0 ** (round(math.log2(size) * _GRID) / _GRID))


def _choose_tensors(target: Target, counts: Mapping[int, int], found: Measured, aim: float) -> Collection[int]:
    """Few tensors whose steps, moved by `_MOVE`, change the measure enough; or all.

    Steps grow where a weight has the least error, and shrink where it has the most, so that no error is wasted.
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
        if need + reach(number) <= 0:  # enough without it
            chosen.remove(number)
            need += reach(number)
    return chosen


def _solve(total: Callable[[float], float], aim: float, start: float, power: float) -> float | None:
    """Where `total`, about a power of x, is `aim`, by secants of logarithms; None where nothing is close."""
    at, slope = math.log2(start), power * math.log(2)
    last: tuple[float, float] | None = None
    best = (math.inf, start)
    for _ in range(_STEPS):
        x = _on_grid(2.0**at)
        miss = math.log(max(total(x), 1e-300) / aim)
        best = min(best, (abs(miss), x))
        if abs(miss) < _CLOSE:
            break
        if last and abs(last[0] - at) > 1e-9 and (miss - last[1]) / (at - last[0]) * slope > 0:
            slope = (miss - last[1]) / (at - last[0])
        last = (at, miss)
        at -= max(-3.0, min(3.0, miss / slope))
    return best[1] if best[0] < _FAR else None
