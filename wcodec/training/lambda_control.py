"""Lambda, the price of a bit, for the next epoch, so that the last epochs end at the budget.

Rate-distortion optimisation by a Lagrange multiplier: which lambda leads to which accuracy is not known beforehand. It
rises fast at first; then each measurement moves it, up where the budget leaves room, down where it is exceeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.metrics import Truth
from wcodec.training.candidate import Candidate


@dataclass(frozen=True)
class LambdaConfig:
    """How lambda follows the measurements.

    initial_rate:      what all bits cost together in the first epoch, in the loss of an example: little, to be raised.
    rise, fall:        doublings and halvings of lambda in an epoch, at most: the first number over the number of
                       epochs, between the others.
    aim, aim_bytes:    part of the drop, or of the bytes, of the budget that is aimed at.
    overshoot_penalty: how much more a drop that is too large counts than one that leaves room: pruned weights take
                       long to come back.
    max_shrink_rate:   halvings of the bytes in an epoch at which lambda waits: the bytes will go on falling.
    lr_noise_share:    part of the error rate that is caused by the high learning rate and vanishes as it falls.
    slope:             part of the error rate that comes with a doubling of lambda, about.
    powers:            of the bytes over those aimed at, by which lambda is multiplied: first, and below `slow_rate`.
    slow_rate:         factor on the learning rates below which the training is nearly over.
    """

    initial_rate: float = 0.2
    rise: tuple[float, float, float] = (24.0, 0.5, 2.4)
    fall: tuple[float, float, float] = (20.0, 0.75, 2.0)
    aim: float = 0.7
    aim_bytes: float = 0.97
    overshoot_penalty: float = 2.5
    max_shrink_rate: float = 1.2
    lr_noise_share: float = 0.12
    slope: float = 0.04
    powers: tuple[float, float] = (2.5, 4.0)
    slow_rate: float = 0.4


CONFIG: Final = LambdaConfig()


@dataclass(frozen=True)
class ValidationSet:
    """Held-out examples with labels. accuracy, loss: of the original network; variance: of the labels."""

    held_out: Examples
    truth: Truth
    accuracy: float | None
    loss: float
    variance: float = 1.0

    def drop(self, one: Candidate) -> float:
        """Points of accuracy lost; of values, hundredths of their variance in squared error."""
        if one.accuracy is None or self.accuracy is None:
            return 100 * (one.loss - self.loss) / self.variance
        return self.accuracy - one.accuracy

    @property
    def errors(self) -> float:
        """The error rate of the original network, in points."""
        return 100 * self.loss / self.variance if self.accuracy is None else 100 - self.accuracy

    def allows(self, one: Candidate, budget: AccuracyBudget) -> bool:
        """Whether all bounds are kept."""
        return (budget.drop is None or self.drop(one) <= budget.drop) and (
            budget.bytes is None or one.bytes <= budget.bytes
        )


def initial_lambda(size: int) -> float:
    """The price of a bit, in the loss of an example. size: bytes of the weights."""
    return CONFIG.initial_rate / (8 * max(size, 1))


def is_infeasible(one: Candidate, validation: ValidationSet, budget: AccuracyBudget, factor: float) -> bool:
    """Whether a network is outside of the budget by more than a lower learning rate will mend."""
    if budget.bytes is not None or budget.drop is None:
        return not validation.allows(one, budget)
    return validation.drop(one) > budget.drop + CONFIG.lr_noise_share * validation.errors * factor


def next_lambda(
    lambda_: float,
    one: Candidate,
    validation: ValidationSet,
    budget: AccuracyBudget,
    factor: float,
    epochs: int,
    before: int,
) -> float:
    """Lambda after an epoch.

    lambda_, one: of the epoch, and its network; factor: on the learning rates at its end.
    epochs: of the whole training; before: bytes of the network before the epoch.
    """
    if budget.bytes is not None:
        power = CONFIG.powers[factor < CONFIG.slow_rate]
        return lambda_ * float(np.clip((one.bytes / (CONFIG.aim_bytes * budget.bytes)) ** power, 1 / 8, 8.0))
    drop = budget.drop or 0.0
    room = CONFIG.aim * drop + CONFIG.lr_noise_share * validation.errors * factor**2 - validation.drop(one)
    halvings = float(np.log2(max(before, 1) / max(one.bytes, 1)))
    room *= float(np.clip(1 - halvings / CONFIG.max_shrink_rate, 0.0, 1.0)) if room > 0 else CONFIG.overshoot_penalty
    doublings = room / max(drop, CONFIG.slope * validation.errors, 0.05)
    up, down = (float(np.clip(total / epochs, least, most)) for total, least, most in (CONFIG.rise, CONFIG.fall))
    return lambda_ * float(2.0 ** np.clip(np.nan_to_num(doublings, nan=-down), -down, up))
