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
from wcodec.evaluation.output_kinds import OutputKind
from wcodec.evaluation.output_scores import percent_rise
from wcodec.training.candidate import Candidate, Score


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
class Lost:
    """What one output loses under one bound: points of accuracy, or percent of its loss.

    errors: the error rate of the original network in the same unit. limit: the bound as the command line calls it.
    """

    lost: float
    bound: float
    errors: float
    limit: str = "max-drop"


@dataclass(frozen=True)
class ValidationSet:
    """Held-out examples with labels. kinds: of the outputs; scores: of the original network's labelled outputs."""

    held_out: Examples
    kinds: tuple[OutputKind, ...]
    scores: tuple[Score, ...]

    def drop(self, one: Candidate) -> float:
        """Points of accuracy lost in the worst output; where all are of values, percent by which the loss rises."""
        pairs = list(zip(self.scores, one.scores, strict=True))
        drops = [a.accuracy - b.accuracy for a, b in pairs if a.accuracy is not None and b.accuracy is not None]
        return max(drops or [percent_rise(b.loss, a.loss) for a, b in pairs])

    def losses(self, one: Candidate, budget: AccuracyBudget) -> list[Lost]:
        """What each output loses under each bound on accuracy and loss."""
        found = []
        for before, now in zip(self.scores, one.scores, strict=True):
            if budget.drop is not None and before.accuracy is not None and now.accuracy is not None:
                found.append(Lost(before.accuracy - now.accuracy, budget.drop, 100 - before.accuracy))
            if budget.loss is not None:
                found.append(Lost(percent_rise(now.loss, before.loss), budget.loss, 100.0, "max-loss"))
        return found

    def allows(self, one: Candidate, budget: AccuracyBudget) -> bool:
        """Whether all bounds are kept."""
        return not self.broken(one, budget)

    def broken(self, one: Candidate, budget: AccuracyBudget) -> str:
        """The first bound that is not kept, as the command line calls it; "" where all are."""
        if budget.bytes is not None and not one.bytes <= budget.bytes:
            return "size"
        return next((each.limit for each in self.losses(one, budget) if not each.lost <= each.bound), "")


def initial_lambda(size: int) -> float:
    """The price of a bit, in the loss of an example. size: bytes of the weights."""
    return CONFIG.initial_rate / (8 * max(size, 1))


def is_infeasible(one: Candidate, validation: ValidationSet, budget: AccuracyBudget, factor: float) -> bool:
    """Whether a network is outside of the budget by more than a lower learning rate will mend."""
    losses = validation.losses(one, budget)
    if budget.bytes is not None or not losses:
        return not validation.allows(one, budget)
    return any(each.lost > each.bound + CONFIG.lr_noise_share * each.errors * factor for each in losses)


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
    halvings = float(np.log2(max(before, 1) / max(one.bytes, 1)))
    doublings = min((_doublings(each, factor, halvings) for each in validation.losses(one, budget)), default=0.0)
    up, down = (float(np.clip(total / epochs, least, most)) for total, least, most in (CONFIG.rise, CONFIG.fall))
    return lambda_ * float(2.0 ** np.clip(np.nan_to_num(doublings, nan=-down), -down, up))


def _doublings(one: Lost, factor: float, halvings: float) -> float:
    """By how many doublings lambda should rise. halvings: of the bytes in the epoch."""
    room = CONFIG.aim * one.bound + CONFIG.lr_noise_share * one.errors * factor**2 - one.lost
    room *= float(np.clip(1 - halvings / CONFIG.max_shrink_rate, 0.0, 1.0)) if room > 0 else CONFIG.overshoot_penalty
    return room / max(one.bound, CONFIG.slope * one.errors, 0.05)
