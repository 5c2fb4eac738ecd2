"""Sparsity schedules: how much is pruned when. A network does not recover if all is pruned at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from wcodec.codec.plan import Prune

Schedule: TypeAlias = Callable[[float], Prune]
"""schedule(fraction of the training that is done, 0 to 1) is how to prune at that point."""

PRUNING: Final = 0.75
"""The fraction of the training in which weights are pruned; in the rest the others are trained."""
ROUNDS: Final = 4
ROUNDED: Final = 0.5
"""The same for pruning by rounds, where the last round needs the longest training."""


def sparsity_at(step: float, begin: float, length: float, initial: float, final: float, power: int) -> float:
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3 for power 3 (Zhu and Gupta 2017); power 1 is linear.

    length: n dt, the length of the rise; the sparsity is `initial` before `begin`, and `final` after the end.
    """
    over = min(max((step - begin) / length, 0.0), 1.0) if length > 0 else float(step >= begin)
    return float(final + (initial - final) * (1.0 - over) ** power)


def gradual_schedule(
    asked: Prune, initial: float, shape: Literal["cubic", "linear"], span: tuple[float, float] = (0.0, PRUNING)
) -> Schedule:
    """A rise from `initial` to the requested sparsity. span: its start and end, as fractions of the training."""
    power = {"cubic": 3, "linear": 1}[shape]
    begin, end = span
    return lambda done: replace(
        asked, amount=sparsity_at(done, begin, end - begin, min(initial, asked.amount), asked.amount, power)
    )


def schedule_by_rounds(asked: Prune, rounds: int = ROUNDS) -> Schedule:
    """Rounds of pruning and retraining (Han, Pool, Tran and Dally 2015): `rounds` equal rises of the sparsity."""

    def schedule(done: float) -> Prune:
        return replace(asked, amount=asked.amount * min(1 + math.floor(done / ROUNDED * rounds), rounds) / rounds)

    return schedule
