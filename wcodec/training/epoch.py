"""One epoch of training: batches in random order, with a learning rate that falls linearly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.calibration.time_limit import OutOfTimeError
from wcodec.evaluation.examples import Batches, Examples, spread_evenly
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.training.engine import Batch, Step
from wcodec.training.losses import LossTargets

LAST: Final = 0.005
"""Factor on the learning rates at the end of a phase. It falls linearly from 1."""
LIVE: Final = 0.8
"""The fraction of a phase in which BatchNormalization uses the statistics of batches."""
BATCHES: Final = (32, 256)
UPDATES: Final = 200
"""The number of steps in an epoch that the batch size aims at."""
TARGETS: Final = 0.2
"""The fraction of the time left for the original's outputs, which training aims at, and"""
LEAST: Final = 1000
"""the number of examples that are trained on however short the time is."""


@dataclass(frozen=True)
class TrainingData:
    """The training examples and their targets.

    normalizing: batches of inputs for the statistics of BatchNormalization.
    versions:    how many versions of each example (such as moved copies) `examples` has, one version of all after
                 another. An epoch uses one version of each.
    """

    examples: Examples
    targets: LossTargets
    normalizing: Batches
    seed: int
    versions: int = 1

    @property
    def count(self) -> int:
        """The number of examples in an epoch."""
        return self.examples.count // self.versions

    @property
    def batch(self) -> int:
        """The batch size, a power of two."""
        wanted = int(np.clip(self.count // UPDATES, *BATCHES))
        return min(1 << (wanted.bit_length() - 1), self.count)

    @property
    def steps(self) -> int:
        """The number of steps in an epoch."""
        return self.count // self.batch


def limit_by_time(examples: Examples, seconds: float, deadline: float, log: Callable[[str], None]) -> Examples:
    """The examples, spread evenly, that the network answers in the fraction TARGETS of the remaining time.

    seconds: for one of them. deadline: a time of `time.monotonic`.
    """
    most = max(LEAST, TARGETS * (deadline - time.monotonic()) / seconds)
    if most >= examples.count:
        return examples
    log(f"trained on {int(most):,} of {examples.count:,} examples, for more do not fit into the time limit")
    return examples.take(spread_evenly(np.arange(examples.count), int(most)))


@dataclass(frozen=True)
class Epoch:
    """The parameters of one epoch.

    number:  the number of the phase and of the epoch in it; they seed the order of the examples.
    lambda_: the price of a bit, in the loss of one example.
    factors: factors on the learning rates at the start and at the end of the epoch.
    live:    whether BatchNormalization uses the statistics of the batch; otherwise it uses those that will be stored.
    """

    number: tuple[int, int]
    lambda_: float
    factors: tuple[float, float]
    live: bool


@dataclass(frozen=True)
class Phase:
    """Several epochs with one lambda. The learning rate falls from 1 to `last`. number: distinguishes phases."""

    number: int
    lambda_: float
    epochs: int
    last: float = LAST
    live: float = LIVE

    def epoch(self, number: int) -> Epoch:
        """The parameters of one of its epochs."""
        first, last = (1 - (1 - self.last) * at / self.epochs for at in (number, number + 1))
        live = self.epochs == 1 or number < self.live * self.epochs - 1e-9
        return Epoch((self.number, number), self.lambda_, (first, last), live)


def train_epoch(
    step: Step,
    data: TrainingData,
    epoch: Epoch,
    update: Callable[[float], None],
    *,
    updates: int = 1,
    deadline: float = float("inf"),
) -> float:
    """Train on each batch once and return the mean loss.

    update:   called `updates` times, the first time before the first step, with the fraction of the epoch that is done.
    deadline: a time of `time.monotonic`.
    Raises: OutOfTimeError if the deadline passes.
    """
    tf = tensorflow()
    lambda_, losses, every = tf.constant(epoch.lambda_, tf.float32), [], max(1, data.steps // updates)
    first, last = epoch.factors
    for number, batch in enumerate(draw_batches(data, epoch.number)):
        if time.monotonic() > deadline:
            raise OutOfTimeError
        if number % every == 0:
            update(number / data.steps)
        factor = tf.constant(first + (last - first) * number / data.steps, tf.float32)
        losses.append(step(batch, lambda_, factor, epoch.live))
    return float(tf.reduce_mean(tf.stack(losses)))


def draw_batches(data: TrainingData, number: tuple[int, int]) -> Iterator[Batch]:
    """Yield all examples in an order that depends on `number`, see `Epoch`."""
    rng = np.random.default_rng((data.seed, *number))
    order = rng.permutation(data.count)
    if data.versions > 1:
        order += data.count * rng.integers(0, data.versions, data.count)
    targets = data.targets
    for start in range(0, len(order) - data.batch + 1, data.batch):
        rows = order[start : start + data.batch]
        inputs = tuple(array[rows] for array in data.examples.inputs)
        outputs = tuple(array[rows] for array in targets.outputs)
        labels = tuple(None if array is None else array[rows] for array in targets.labels)
        yield Batch(inputs, outputs, labels)
