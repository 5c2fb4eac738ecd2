"""The end of a stage of `records.py`: weights that move to and fro between two levels are frozen at one of them.

A price draws weights to the boundary of two levels, where they change with every batch, however small the learning rate
is: half of the non-zero weights of a small network do so, and its error on other images moves with them. Frozen one
part after another, the surest first, they stop, and the others learn to do without the rest (Nagel et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wcodec.training.epoch import Epoch, Phase, TrainingData, train_epoch
from wcodec.training.flat_adam import flatten
from wcodec.training.qat_state import QatState
from wcodec.training.uniform_group import UniformGroup

EPOCHS = 10
"""Epochs after each of which a part of the weights is frozen, and"""
AFTER = 3
"""those that follow, in which the others go on learning."""
RATES = (0.1, 0.005)
"""Factors on the learning rate at the start and at the end; it falls by the same factor in each epoch."""
SAMPLES = 40
"""How often in an epoch the levels are looked at."""
MOVING = 0.02
"""A mean level farther than this from an integer is that of a weight that moves."""

Float64 = npt.NDArray[np.float64]


@dataclass
class _LevelMean:
    """The mean of the levels over an epoch, flat. Its `update` is called SAMPLES times."""

    group: UniformGroup
    sums: list[Float64] = field(default_factory=list)

    def update(self, done: float) -> None:
        if done == 0:
            self.group.update()
        self.sums.append(np.rint(self.group.latents.values.numpy()))

    def result(self) -> Float64:
        return np.mean(self.sums, axis=0, dtype=np.float64)


def freeze_weights(state: QatState, data: TrainingData, phase: Phase, tell: Callable[[int, float], None]) -> None:
    """Train EPOCHS + AFTER epochs behind those of a phase, at its price, and freeze the weights of kernels that move.

    tell: called after each epoch, with its number in the phase and its mean loss.
    """
    group = state.group
    kernels = zip(group.weights, group.are_kernels, strict=True)
    free = flatten([np.full(weight.shape, kernel, np.float32) for weight, kernel in kernels]) > 0
    assert group.factors is not None
    for number in range(EPOCHS + AFTER):
        levels = _LevelMean(group)
        loss = train_epoch(state.step, data, _epoch(phase, number), levels.update, updates=SAMPLES)
        tell(phase.epochs + number, loss)
        if number >= EPOCHS:
            continue
        mean = levels.result()
        away = np.abs(mean - np.rint(mean))
        moving = np.flatnonzero(free & (away > MOVING))
        chosen = moving[np.argsort(away[moving], kind="stable")][: -(-len(moving) // (EPOCHS - number))]
        free[chosen] = False
        latents, factors = group.latents.values.numpy(), group.factors.numpy()
        latents[chosen], factors[chosen] = np.rint(mean[chosen]), 0.0
        group.latents.values.assign(latents)
        group.factors.assign(factors)


def _epoch(phase: Phase, number: int) -> Epoch:
    start, end = RATES
    first, last = (start * (end / start) ** (at / (EPOCHS + AFTER)) for at in (number, number + 1))
    return Epoch((phase.number, phase.epochs + number), phase.lambda_, (first, last), live=False)
