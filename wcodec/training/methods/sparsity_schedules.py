"""How much is pruned when: all at once is what a network does not recover from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from wcodec.codec.plan import Prune

Schedule: TypeAlias = Callable[[float], Prune]
"""From the part of a training that is over, 0 to 1, to what must be zero by then."""

PRUNING: Final = 0.75
"""Part of the training in which weights go; in the rest those that are left settle."""
ROUNDS: Final = 4
ROUNDED: Final = 0.5
"""The same for pruning by rounds: its last one is the hardest to recover from."""


def sparsity_at(step: float, begin: float, length: float, initial: float, final: float, power: int) -> float:
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3 for power 3 (Zhu and Gupta 2017); 1 is the linear form.

    length: n dt, of all pruning steps; before `begin` it is `initial`, behind the end `final`.
    """
    over = min(max((step - begin) / length, 0.0), 1.0) if length > 0 else float(step >= begin)
    return float(final + (initial - final) * (1.0 - over) ** power)


def gradual_schedule(
    asked: Prune, initial: float, shape: Literal["cubic", "linear"], span: tuple[float, float] = (0.0, PRUNING)
) -> Schedule:
    """To the sparsity that was asked for, from `initial`, between two parts of the training."""
    power = {"cubic": 3, "linear": 1}[shape]
    begin, end = span
    return lambda done: replace(
        asked, amount=sparsity_at(done, begin, end - begin, min(initial, asked.amount), asked.amount, power)
    )


def schedule_by_rounds(asked: Prune, rounds: int = ROUNDS, pruning: float = ROUNDED) -> Schedule:
    """Prune, retrain, and again a little more (Han, Pool, Tran and Dally 2015): in `rounds` equal rises."""

    def schedule(done: float) -> Prune:
        return replace(asked, amount=asked.amount * min(1 + math.floor(done / pruning * rounds), rounds) / rounds)

    return schedule
