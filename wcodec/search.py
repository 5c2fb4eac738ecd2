"""Finding the step at which an encoding has the error, or the size, that was asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from wcodec.errors import BudgetError

_PASSES = 10


@dataclass(frozen=True)
class Goal:
    """A measure of the encoding that grows (error) or falls (bytes) with the step, and what it should come to.

    bound:   never exceeded by the result; close: a result of at least this part of the bound is good enough.
    power:   the measure goes about like step ** power; the first guess of it.
    """

    what: str
    bound: float
    close: float
    power: float


def largest_step(measure: Callable[[float], float], start: float, goal: Goal) -> float:
    """A step whose measure is within the goal's bound, and close to it.

    measure: step -> error or bytes; called at most ten times, the answer's step among them.
    Raises: BudgetError where no step tried meets the bound.
    """
    aim = math.log(goal.bound) + 0.4 * math.log(goal.close)
    power, step = goal.power, start
    inside: tuple[float, float] | None = None
    outside: tuple[float, float] | None = None
    for _ in range(_PASSES):
        value = math.log(max(measure(step), 1e-300))
        point = (math.log(step), value)
        if value <= math.log(goal.bound):
            inside = point if inside is None or value > inside[1] else inside
            if value >= math.log(goal.bound) + math.log(goal.close):
                return step
        else:
            outside = point if outside is None or value < outside[1] else outside
        if inside and outside and inside[0] != outside[0]:
            power = (outside[1] - inside[1]) / (outside[0] - inside[0])
        moved = (aim - value) / power if power * goal.power > 0 else (aim - value) / goal.power
        step = math.exp(point[0] + max(-4.0, min(4.0, moved)))
    if inside is None:
        lowest = math.exp(outside[1]) if outside else math.inf
        raise BudgetError(f"{goal.what}: expected at most {goal.bound:g}, got {lowest:g} at best")
    return math.exp(inside[0])
