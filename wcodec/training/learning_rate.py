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
STEPS: Final = 9
"""The number of steps with each."""


def choose_rate_factor(
    state: DistillState, start: CalibrationResult, draw: Callable[[], Iterator[tuple[Array, ...]]], scale: float
) -> float:
    """The largest of FACTORS with which the first steps leave at least half of what the original tells.

    At first Adam (Kingma and Ba 2015) moves every weight by its whole learning rate, in the direction of the gradient
    alone. In deep networks with BatchNormalization these changes add up from layer to layer, until the softmax is
    saturated at one class for all inputs, where it has no gradient.

    draw:  batches of inputs. scale: a factor on the learning rates of the whole training.
    The network must have its original weights, and has them afterwards.
    """
    tf = tensorflow()
    price, before = tf.constant(0.0), state.model.get_weights()
    for factor in FACTORS[:-1]:
        initialize(state, start)
        batches = (Batch(*state.ask(inputs)) if state.ask else Batch(inputs) for inputs in draw())
        rate = tf.constant(scale * factor, tf.float32)
        losses = [float(state.step(batch, price, rate, False)) for batch in itertools.islice(batches, STEPS)]
        state.model.set_weights(before)
        if np.mean(losses[1:]) <= state.useless / 2:
            return factor
    return FACTORS[-1]
