"""Training with labels: find the smallest network within a budget. Each epoch sets the lambda of the next.

Training starts from the result of calibration without labels, and a larger network is never returned. The learning rate
falls over the epochs. The network is measured after each epoch, so that the last epochs end at the budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.time_limit import OutOfTimeError
from wcodec.training.candidate import Candidate, get_statistics, set_statistics, snapshot_and_score
from wcodec.training.epoch import LAST, LIVE, Epoch, TrainingData, train_epoch
from wcodec.training.flat_adam import Float32
from wcodec.training.lambda_control import initial_lambda, is_infeasible, next_lambda
from wcodec.training.qat_state import QatState
from wcodec.training.uniform_group import Snapshot
from wcodec.training.validation import ValidationSet


@dataclass(frozen=True)
class LoopConfig:
    """When the training lowers its learning rate, returns to an earlier point, and ends.

    full_rate:      the fraction of the training at the full learning rate, which then falls linearly.
    patience:       training ends after this many epochs in a row without a better network, or after half of all epochs.
    max_infeasible: after this many epochs in a row far over the budget, training returns to the last point within it.
    late:           the fraction of the training before which it does not return, because the learning rate is still too
                    high to judge.
    kept:           how many networks are kept; the size of a file is known only after encoding.
    """

    full_rate: float = 0.3
    patience: int = 80
    max_infeasible: int = 2
    late: float = 0.5
    kept: int = 5


CONFIG: Final = LoopConfig()


@dataclass(frozen=True)
class ResumePoint:
    """A point from which training can continue.

    learned:    all trained variables.
    statistics: of BatchNormalization.
    lambda_:    the price of a bit.
    bytes:      of the network.
    """

    learned: Snapshot
    statistics: tuple[Float32, ...]
    lambda_: float
    bytes: int


@dataclass(frozen=True)
class TrainingState:
    """The state of a training after an epoch: all that is needed to continue.

    epochs:            the number of epochs made.
    done:              the fraction of the training that is done.
    initial_bytes:     of the network that training started from.
    point:             where the next epoch starts.
    best:              the best networks, best first.
    idle:              epochs in a row without a better network.
    last_feasible:     the last point within the budget.
    epochs_infeasible: epochs in a row far over the budget.
    """

    epochs: int
    done: float
    initial_bytes: int
    point: ResumePoint
    best: tuple[Candidate, ...] = ()
    idle: int = 0
    last_feasible: ResumePoint | None = None
    epochs_infeasible: int = 0


@dataclass(frozen=True)
class TrainingLoop:
    """One training.

    log:      called after every epoch with the state, the network of the epoch, and the mean loss.
    deadline: a time of `time.monotonic`; the number of epochs is reduced to meet it.
    """

    state: QatState
    data: TrainingData
    validation: ValidationSet
    budget: AccuracyBudget
    epochs: int
    log: Callable[[TrainingState, Candidate, float], None]
    deadline: float = float("inf")

    def best(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """The candidates within the budget, best first."""
        within = [one for one in candidates if self.validation.allows(one, self.budget)]
        if self.budget.bytes is None:
            return tuple(sorted(within, key=lambda one: one.bytes)[: CONFIG.kept])
        return tuple(sorted(within, key=self._measure_loss)[: CONFIG.kept])

    def _measure_loss(self, one: Candidate) -> tuple[float, float]:
        return self.validation.drop(one), sum(each.loss for each in one.scores)

    def score(self, *, statistics: bool, averaged: bool) -> Candidate:
        """The current network and its scores. statistics: compute those of BatchNormalization again."""
        batches = self.data.normalizing if statistics else None
        return snapshot_and_score(self.state, batches, self.validation, averaged=averaged)

    def point(self, lambda_: float, size: int) -> ResumePoint:
        """The current point of the training."""
        return ResumePoint(self.state.group.snapshot(), get_statistics(self.state), lambda_, size)


def start(loop: TrainingLoop, candidates: tuple[Candidate, ...]) -> TrainingState:
    """The state before the first epoch. candidates: networks found without training; training starts from the last."""
    one = loop.score(statistics=True, averaged=False)
    point = loop.point(initial_lambda(one.bytes), one.bytes)
    feasible = point if any(loop.validation.allows(each, loop.budget) for each in (one, *candidates[-1:])) else None
    return TrainingState(0, 0.0, one.bytes, point, loop.best((*candidates, one)), last_feasible=feasible)


def finetune(loop: TrainingLoop, state: TrainingState) -> tuple[tuple[Candidate, ...], bool]:
    """Train to the end. Returns the best networks within the budget, best first, and whether the training was finished.

    state: where training continues; the result is the same as without an interruption.
    The network has its original weights again after the call. An interrupt (KeyboardInterrupt) ends the training with
    the networks found so far; if there are none, it is raised again.
    """
    before, now = loop.state.model.get_weights(), state
    patience = max(CONFIG.patience, loop.epochs // 2)
    seconds = 0.0
    try:
        while now.epochs < loop.epochs and now.done < 1 and now.idle < patience:
            started = time.monotonic()
            left = loop.epochs - now.epochs
            if seconds and loop.deadline < started + left * seconds:
                left = max(1, int((loop.deadline - started) / seconds))
            done = 1.0 if left == 1 else now.done + (1 - now.done) / left
            loop.state.group.restore(now.point.learned)
            set_statistics(loop.state, now.point.statistics)
            factors = learning_rate_factor(now.done), learning_rate_factor(done)
            epoch = Epoch((0, now.epochs), now.point.lambda_, factors, now.done < LIVE - 1e-9)
            loss = train_epoch(loop.state.step, loop.data, epoch, loop.state.group.update, deadline=loop.deadline)
            now, one = _run_epoch(loop, now, epoch, done)
            seconds = time.monotonic() - started
            loop.log(now, one, loss)
    except OutOfTimeError:
        return now.best, False
    except KeyboardInterrupt:
        if not now.best:
            raise
        return now.best, False
    finally:
        loop.state.model.set_weights(before)
    return now.best, True


def learning_rate_factor(done: float) -> float:
    """The factor on the learning rates when this fraction of the training is done."""
    return max(LAST, min(1.0, (1 - done) / (1 - CONFIG.full_rate)))


def _run_epoch(loop: TrainingLoop, was: TrainingState, epoch: Epoch, done: float) -> tuple[TrainingState, Candidate]:
    """The state after one more epoch, and the network of that epoch."""
    validation, budget, factor = loop.validation, loop.budget, epoch.factors[1]
    one = loop.score(statistics=epoch.live, averaged=True)
    best = loop.best((*was.best, one))
    lambda_ = next_lambda(epoch.lambda_, one, validation, budget, factor, loop.epochs, was.point.bytes)
    if one.bytes >= was.initial_bytes:  # a lower lambda would only give a larger file than the start
        lambda_ = max(lambda_, epoch.lambda_)
    point = loop.point(lambda_, one.bytes)
    feasible = point if validation.allows(one, budget) else was.last_feasible
    infeasible = was.epochs_infeasible + 1 if is_infeasible(one, validation, budget, factor) else 0
    if feasible and infeasible >= CONFIG.max_infeasible and done > CONFIG.late:
        point = feasible = replace(feasible, lambda_=feasible.lambda_ / 2)
        infeasible = 0
    idle = 0 if best and best[0] is one else was.idle + 1
    return TrainingState(was.epochs + 1, done, was.initial_bytes, point, best, idle, feasible, infeasible), one
