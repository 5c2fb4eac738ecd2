"""What a bit should cost in the next epoch, so that the last epochs end at the budget.

Rate-distortion by Lagrangian, as `distill`: which lambda_ leads to which loss is not known beforehand. It rises fast at
first; from then on every epoch's examination moves it, up where the budget leaves room, down where it is overdrawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.metrics import Truth
from wcodec.training.candidate import Candidate

FIRST: Final = 0.2
"""What all bits cost together in the first epoch, in the loss of an example: little, to be raised."""
RISE: Final = (24.0, 0.5, 2.4)
"""Doublings of the lambda_ in an epoch, at most: so many over the epochs, between these."""
FALL: Final = (20.0, 0.75, 2.0)
"""Halvings, likewise."""
AIM: Final = 0.7
"""Part of the drop allowed that is aimed at."""
OVERSHOOT_PENALTY: Final = 2.5
"""How much more a drop that is too large counts than one that leaves room: pruned weights take long to come back."""
MAX_SHRINK_RATE: Final = 1.2
"""Halvings of the bytes in an epoch at which lambda waits: they will go on falling."""
LR_NOISE_SHARE: Final = 0.12
"""Part of the wrong answers that are due to full speed, and will be right when it falls."""
SLOPE: Final = 0.04
"""Part of the wrong answers that come with a doubling of the lambda_, about."""
CLOSE: Final = 0.97
"""Part of the bytes allowed that is aimed at."""
POWERS: Final = (2.5, 4.0)
"""A lambda_ goes with these powers of the bytes to be saved: first, and where little speed is left."""
SLOW: Final = 0.4


@dataclass(frozen=True)
class ValidationSet:
    """What networks are judged by. accuracy, loss: of the network before; variance: of the labels."""

    held_out: Examples
    truth: Truth
    accuracy: float | None
    loss: float
    variance: float = 1.0

    def drop(self, net: Candidate) -> float:
        """Points lost."""
        if net.accuracy is None or self.accuracy is None:
            return 100 * (net.loss - self.loss) / self.variance
        return self.accuracy - net.accuracy

    @property
    def errors(self) -> float:
        """Points that the network before was wrong by."""
        return 100 * self.loss / self.variance if self.accuracy is None else 100 - self.accuracy

    def allows(self, net: Candidate, budget: AccuracyBudget) -> bool:
        """Whether all bounds are kept."""
        return (budget.drop is None or self.drop(net) <= budget.drop) and (
            budget.bytes is None or net.bytes <= budget.bytes
        )


def initial_lambda(size: int) -> float:
    """Of a bit, in the loss of an example, where the weights have so many bytes."""
    return FIRST / (8 * max(size, 1))


def is_infeasible(net: Candidate, validation: ValidationSet, budget: AccuracyBudget, speed: float) -> bool:
    """Whether a network is outside of the budget by more than will come back when learning slows down."""
    if budget.bytes is not None or budget.drop is None:
        return not validation.allows(net, budget)
    return validation.drop(net) > budget.drop + LR_NOISE_SHARE * validation.errors * speed


def next_lambda(
    lambda_: float,
    net: Candidate,
    validation: ValidationSet,
    budget: AccuracyBudget,
    speed: float,
    epochs: int,
    before: int,
) -> float:
    """The lambda_ after an epoch whose network is `net`.

    speed: of learning at its end; epochs: of the whole training; before: bytes that the network had before this one.
    """
    if budget.bytes is not None:
        power = POWERS[speed < SLOW]
        return lambda_ * float(np.clip((net.bytes / (CLOSE * budget.bytes)) ** power, 1 / 8, 8.0))
    drop = budget.drop or 0.0
    room = AIM * drop + LR_NOISE_SHARE * validation.errors * speed**2 - validation.drop(net)
    halvings = float(np.log2(max(before, 1) / max(net.bytes, 1)))
    room *= float(np.clip(1 - halvings / MAX_SHRINK_RATE, 0.0, 1.0)) if room > 0 else OVERSHOOT_PENALTY
    doublings = room / max(drop, SLOPE * validation.errors, 0.05)
    up, down = (float(np.clip(total / epochs, least, most)) for total, least, most in (RISE, FALL))
    return lambda_ * float(2.0 ** np.clip(np.nan_to_num(doublings, nan=-down), -down, up))
