"""The end of a stage of `records.py`: weights that oscillate between two levels are frozen at one of them."""

from __future__ import annotations

from collections.abc import Callable

from wcodec.training.epoch import Epoch, Phase, TrainingData, train_epoch
from wcodec.training.qat_state import QatState
from wcodec.training.weight_freezing import WeightFreezing

EPOCHS = 10
"""Epochs after each of which a part of the weights is frozen, and"""
AFTER = 3
"""those that follow, in which the others go on learning."""
RATES = (0.1, 0.005)
"""Factors on the learning rate at the start and at the end; it falls by the same factor in each epoch."""
SAMPLES = 40
"""How often in an epoch the levels are looked at."""


def freeze_weights(state: QatState, data: TrainingData, phase: Phase, tell: Callable[[int, float], None]) -> None:
    """Train EPOCHS + AFTER epochs behind those of a phase, at its price, and freeze the weights that oscillate.

    tell: called after each epoch, with its number in the phase and its mean loss.
    """
    freezing = WeightFreezing(state.group)

    def update(done: float) -> None:
        if done == 0:
            state.group.update()
        freezing.sample()

    for number in range(EPOCHS + AFTER):
        loss = train_epoch(state.step, data, _epoch(phase, number), update, updates=SAMPLES)
        tell(phase.epochs + number, loss)
        if number < EPOCHS:
            freezing.freeze(EPOCHS - number)


def _epoch(phase: Phase, number: int) -> Epoch:
    start, end = RATES
    first, last = (start * (end / start) ** (at / (EPOCHS + AFTER)) for at in (number, number + 1))
    return Epoch((phase.number, phase.epochs + number), phase.lambda_, (first, last), live=False)
