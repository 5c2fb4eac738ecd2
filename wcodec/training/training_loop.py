"""Training with labels: the smallest network within a budget, by epochs of which each sets the lambda of the next.

It begins from what calibration without labels found, and nothing larger than that is ever the result. The learning rate
falls over the epochs, and the network is measured after each of them, so that the last ones end at the budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.progress import OutOfTimeError
from wcodec.training.candidate import Candidate, get_statistics, set_statistics, snapshot_and_score
from wcodec.training.epoch import LAST, LIVE, Epoch, TrainingData, train_epoch
from wcodec.training.flat_adam import Float32
from wcodec.training.lambda_control import ValidationSet, initial_lambda, is_infeasible, next_lambda
from wcodec.training.qat_state import QatState
from wcodec.training.uniform_group import Snapshot


@dataclass(frozen=True)
class LoopConfig:
    """When the training slows down, turns back and ends.

    full_rate:      part of the training at the full learning rate, which then falls linearly.
    patience:       epochs in a row that find nothing better, after which training ends: so many, or half of all.
    max_infeasible: epochs in a row far outside of the budget, after which training goes back to where it was inside;
    late:           but not before this part of the training: learning is too fast to tell.
    kept:           networks that are remembered: the file's size is known only when it is written.
    """

    full_rate: float = 0.3
    patience: int = 80
    max_infeasible: int = 2
    late: float = 0.5
    kept: int = 5


CONFIG: Final = LoopConfig()


@dataclass(frozen=True)
class ResumePoint:
    """Where training may go on.

    learned: all that is learned; statistics: of BatchNormalization; lambda_: the price of a bit; bytes: of the network.
    """

    learned: Snapshot
    statistics: tuple[Float32, ...]
    lambda_: float
    bytes: int


@dataclass(frozen=True)
class TrainingState:
    """Where a training is after an epoch: all that it needs to go on.

    epochs:            that were made; done: the part of the training that they are.
    initial_bytes:     of the network that it began from.
    point:             where the next epoch goes on.
    best:              the best networks, best first; idle: epochs in a row that found nothing better.
    last_feasible:     the last point within the budget; epochs_infeasible: epochs in a row far outside of it.
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
    """One training. log: hears after every epoch the state, the epoch's network, and the mean loss.

    deadline: by `time.monotonic`: as many epochs are made as fit in.
    """

    state: QatState
    data: TrainingData
    validation: ValidationSet
    budget: AccuracyBudget
    epochs: int
    log: Callable[[TrainingState, Candidate, float], None]
    deadline: float = float("inf")

    def best(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Those within the budget, best first."""
        within = [one for one in candidates if self.validation.allows(one, self.budget)]
        if self.budget.bytes is None:
            return tuple(sorted(within, key=lambda one: one.bytes)[: CONFIG.kept])
        return tuple(sorted(within, key=self._lost)[: CONFIG.kept])

    def _lost(self, one: Candidate) -> tuple[float, float]:
        return self.validation.drop(one), sum(each.loss for each in one.scores)

    def score(self, *, statistics: bool, averaged: bool) -> Candidate:
        """The network as it is now. statistics: whether those of BatchNormalization are computed anew."""
        batches = self.data.normalizing if statistics else None
        return snapshot_and_score(
            self.state, batches, self.validation.held_out, self.validation.kinds, averaged=averaged
        )

    def point(self, lambda_: float, size: int) -> ResumePoint:
        """What is learned now."""
        return ResumePoint(self.state.group.snapshot(), get_statistics(self.state), lambda_, size)


def start(loop: TrainingLoop, candidates: tuple[Candidate, ...]) -> TrainingState:
    """The state before the first epoch. candidates: found without training."""
    one = loop.score(statistics=True, averaged=False)
    point = loop.point(initial_lambda(one.bytes), one.bytes)
    feasible = point if loop.validation.allows(one, loop.budget) else None
    return TrainingState(0, 0.0, one.bytes, point, loop.best((*candidates, one)), last_feasible=feasible)


def finetune(loop: TrainingLoop, state: TrainingState) -> tuple[tuple[Candidate, ...], bool]:
    """The best networks within the budget, best first, and whether the training was finished.

    state: training goes on from there, as if there had been no interruption. The network gets its weights back.
    An interrupt (KeyboardInterrupt) ends the training with what was found; it is raised again where that is nothing.
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
            now, one = _after(loop, now, epoch, done)
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
    """On the learning rates, when this part of the training is over."""
    return max(LAST, min(1.0, (1 - done) / (1 - CONFIG.full_rate)))


def _after(loop: TrainingLoop, was: TrainingState, epoch: Epoch, done: float) -> tuple[TrainingState, Candidate]:
    """The state once an epoch was trained, and the epoch's network."""
    validation, budget, factor = loop.validation, loop.budget, epoch.factors[1]
    one = loop.score(statistics=epoch.live, averaged=True)
    best = loop.best((*was.best, one))
    lambda_ = next_lambda(epoch.lambda_, one, validation, budget, factor, loop.epochs, was.point.bytes)
    if one.bytes >= was.initial_bytes:  # cheaper bits would end in a larger file than there is already
        lambda_ = max(lambda_, epoch.lambda_)
    point = loop.point(lambda_, one.bytes)
    feasible = point if validation.allows(one, budget) else was.last_feasible
    infeasible = was.epochs_infeasible + 1 if is_infeasible(one, validation, budget, factor) else 0
    if feasible and infeasible >= CONFIG.max_infeasible and done > CONFIG.late:
        point = feasible = replace(feasible, lambda_=feasible.lambda_ / 2)
        infeasible = 0
    idle = 0 if best and best[0] is one else was.idle + 1
    return TrainingState(was.epochs + 1, done, was.initial_bytes, point, best, idle, feasible, infeasible), one
