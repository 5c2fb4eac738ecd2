"""The learning rate of a training without labels: the largest that the network survives, by a few steps with each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from wcodec.calibration.trial import CalibrationResult
from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.training.distill_state import DistillState, initialize
from wcodec.training.engine import Batch

FACTORS: Final = (1.0, 0.4, 0.15, 0.05)
"""Factors on the learning rates that are tried."""
STEPS: Final = (10, 40)
"""The smallest and the largest number of steps with each; between them a fortieth of the training."""
RISE: Final = 6.0
"""How many times the loss of the start the mean loss of the second half of these steps may be."""


def choose_rate_factor(
    state: DistillState,
    start: CalibrationResult,
    draw: Callable[[], Iterator[tuple[Array, ...]]],
    scale: float,
    steps: int | None = None,
) -> float:
    """The largest of FACTORS with which the loss stays within RISE times that of the start.

    At first Adam (Kingma and Ba 2015) moves every weight by its whole learning rate, in the direction of the gradient
    alone. In deep and recurrent networks these changes add up from layer to layer. A network that loses much more by
    them than by rounding does not regain it in a few thousand steps; at worst its softmax is saturated at one class for
    all inputs, where it has no gradient.

    draw:  batches of inputs. scale: a factor on the learning rates of the whole training.
    steps: of the training; None if time ends it.
    The network must have its original weights, and has them afterwards.
    """
    tf = tensorflow()
    price, before = tf.constant(0.0), state.model.get_weights()
    usual, count = float("inf"), STEPS[1] if steps is None else min(max(steps // STEPS[1], STEPS[0]), STEPS[1])
    for factor in (0.0, *FACTORS[:-1]):
        initialize(state, start)
        batches = (Batch(*state.ask(inputs)) if state.ask else Batch(inputs) for inputs in draw())
        rate = tf.constant(scale * factor, tf.float32)
        losses = [float(state.step(batch, price, rate, False)) for batch in itertools.islice(batches, count)]
        state.model.set_weights(before)
        if not factor:
            usual = float(np.mean(losses))
        elif np.mean(losses[count // 2 :]) <= min(RISE * usual, state.useless / 2):
            return factor
    return FACTORS[-1]
