"""Control of lambda, the price of a bit, from epoch to epoch, so that the last epochs end at the budget.

This is rate-distortion optimisation by a Lagrange multiplier. The accuracy that a lambda leads to is unknown at first.
Lambda therefore rises fast in the beginning; later each measurement raises it if the network is within the budget, and
lowers it otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.training.candidate import Candidate
from wcodec.training.validation import Lost, ValidationSet


@dataclass(frozen=True)
class LambdaConfig:
    """Settings for the changes of lambda.

    initial_rate:      the cost of all bits in the first epoch, in the loss of one example. It is small and rises.
    rise, fall:        the largest number of doublings and halvings of lambda in one epoch: the first number divided by
                       the number of epochs, clipped to the other two.
    aim, aim_bytes:    the fraction of the budget's accuracy drop, or of its bytes, that is aimed at.
    overshoot_penalty: factor on a drop that is too large, because pruned weights return slowly.
    max_shrink_rate:   lambda does not rise if the bytes fell by this many halvings in the epoch: they will fall
                       further.
    lr_noise_share:    the share of the error rate that is caused by the high learning rate and vanishes as it falls.
    slope:             the approximate share of the error rate that a doubling of lambda adds.
    powers:            the exponents of (bytes / target bytes) by which lambda is multiplied: first, and below
                       `slow_rate`.
    slow_rate:         a factor on the learning rates; below it the training is nearly done.
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


def initial_lambda(size: int) -> float:
    """The price of a bit in the first epoch, in the loss of one example. size: bytes of the weights."""
    return CONFIG.initial_rate / (8 * max(size, 1))


def is_infeasible(one: Candidate, validation: ValidationSet, budget: AccuracyBudget, factor: float) -> bool:
    """Whether a network exceeds the budget by more than a lower learning rate will repair."""
    losses = validation.losses(one, budget)
    if budget.bytes is not None or not losses:
        return not validation.allows(one, budget)
    return any(each.value > each.bound + CONFIG.lr_noise_share * each.errors * factor for each in losses)


def next_lambda(
    lambda_: float,
    one: Candidate,
    validation: ValidationSet,
    budget: AccuracyBudget,
    factor: float,
    epochs: int,
    before: int,
) -> float:
    """Lambda for the next epoch.

    lambda_, one: lambda of this epoch, and its network.
    factor:       on the learning rates at the end of this epoch.
    epochs:       in the whole training.
    before:       bytes of the network before this epoch.
    """
    if budget.bytes is not None:
        power = CONFIG.powers[factor < CONFIG.slow_rate]
        return lambda_ * float(np.clip((one.bytes / (CONFIG.aim_bytes * budget.bytes)) ** power, 1 / 8, 8.0))
    halvings = float(np.log2(max(before, 1) / max(one.bytes, 1)))
    doublings = min((_count_doublings(each, factor, halvings) for each in validation.losses(one, budget)), default=0.0)
    up, down = (float(np.clip(total / epochs, least, most)) for total, least, most in (CONFIG.rise, CONFIG.fall))
    return lambda_ * float(2.0 ** np.clip(np.nan_to_num(doublings, nan=-down), -down, up))


def _count_doublings(one: Lost, factor: float, halvings: float) -> float:
    """The number of doublings of lambda. halvings: of the bytes in this epoch."""
    room = CONFIG.aim * one.bound + CONFIG.lr_noise_share * one.errors * factor**2 - one.value
    room *= float(np.clip(1 - halvings / CONFIG.max_shrink_rate, 0.0, 1.0)) if room > 0 else CONFIG.overshoot_penalty
    return room / max(one.bound, CONFIG.slope * one.errors, 0.05)
