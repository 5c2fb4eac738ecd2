"""Rate control: the step at which an encoding has the requested error or size."""

from __future__ import annotations

import math
from collections.abc import Callable

from wcodec.errors import BudgetError
from wcodec.model.dataclass import dataclass
from wcodec.planning.recipe import Recipe

_PASSES = 12
_CLOSEST = 1 / 512
"""Steps whose logarithms differ by less give the same levels."""
_FARTHEST = 6.0
"""The largest change of the logarithm of the step while only one side of the target is known."""


@dataclass(frozen=True)
class Target:
    """A measure of the encoding that grows (error) or falls (bytes) with the step, and its requested value.

    bound: never exceeded by the result.
    close: a result of at least this fraction of the bound is good enough.
    power: the measure is approximately proportional to step ** power; an initial guess.
    """

    what: str
    bound: float
    close: float
    power: float


@dataclass(frozen=True)
class _Tried:
    """The logarithm of a step and of its measure divided by the aim, with the sign that makes it rise with the step."""

    at: float
    miss: float


def target_of(recipe: Recipe, source_bytes: int) -> Target | None:
    """The target of the recipe for the whole file, None if it has none."""
    if recipe.max_error:
        return Target("relative squared error", recipe.max_error, close=0.99, power=2.0)
    if recipe.target_bytes or recipe.target_ratio:
        most = recipe.target_bytes or source_bytes / (recipe.target_ratio or 1.0)
        return Target("file bytes", most, close=0.99, power=-0.3)
    return None


def find_step(measure: Callable[[float], float], start: float, target: Target) -> float:
    """A step whose measure is within the target's bound, and close to it: regula falsi with the Illinois rule.

    measure: step -> error or bytes; called at most twelve times, the last time for the result or an earlier one.
    Raises: BudgetError if no step tried meets the bound.
    """
    sign = math.copysign(1.0, target.power)
    aim = 0.4 * math.log(target.close)
    step, best, least = start, (-math.inf, 0.0), math.inf
    sides: dict[bool, _Tried] = {}
    last = None
    for attempt in range(_PASSES):
        value = measure(step)
        over = math.log(max(value, 1e-300) / target.bound)
        if math.log(target.close) <= over <= 0.0:
            return step
        if over <= 0.0:
            best = max(best, (over, step))
        least = min(least, value)
        tried = _Tried(math.log(step), sign * (over - aim))
        high = tried.miss > 0.0
        known, other = sides.get(high), sides.get(not high)
        sides[high] = tried
        if other:
            if abs(other.at - tried.at) < _CLOSEST:
                break
            if last == high:
                # If one side moves twice, the other one is halved; otherwise it would never move.
                other = sides[not high] = _Tried(other.at, other.miss / 2)
            part = tried.miss / (tried.miss - other.miss)
            step = math.exp(tried.at + max(0.1, min(0.9, part)) * (other.at - tried.at))
        else:
            slope = (tried.miss - known.miss) / (tried.at - known.at) if known else abs(target.power)
            if known and not slope and abs(tried.at - known.at) > _FARTHEST / 2:
                break  # nothing depends on the step
            moved = -tried.miss / max(slope, 0.1)
            moved += math.copysign(_CLOSEST * 4**attempt, moved)  # better beyond the target than never at it
            step = math.exp(tried.at + max(-_FARTHEST, min(_FARTHEST, moved)))
        last = high
    if not best[1]:
        raise BudgetError(f"{target.what}: expected at most {target.bound:g}, got {least:g} at best")
    return best[1]
