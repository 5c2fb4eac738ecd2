"""Epochs of rate-aware training: batches in random order, a rate of learning that falls, prices taken anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.evaluation.examples import Array, Batches, Examples
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.training.losses import Lesson
from wcodec.training.qat_state import Pupil, reprice

LAST: Final = 0.005
"""Speed at the end of a stage, which falls linearly from 1."""
SETTLED: Final = 0.8
"""Part of a stage after which statistics of BatchNormalization stay as they will be stored."""
BATCHES: Final = (32, 256)
UPDATES: Final = 200
"""Steps of an epoch, about, where batches may be that large."""


class OutOfTimeError(Exception):
    """The time for training is over in the middle of an epoch."""


@dataclass(frozen=True)
class School:
    """What a pupil learns from.

    normalizing: inputs for the statistics of BatchNormalization.
    versions:    of every example (moved, say), one version of all after another: an epoch takes one of each.
    """

    examples: Examples
    lesson: Lesson
    normalizing: Batches
    seed: int
    versions: int = 1

    @property
    def count(self) -> int:
        """Examples of an epoch."""
        return self.examples.count // self.versions

    @property
    def batch(self) -> int:
        """Examples of a step: a power of two."""
        wanted = int(np.clip(self.count // UPDATES, *BATCHES))
        return min(1 << (wanted.bit_length() - 1), self.count)


@dataclass(frozen=True)
class Lap:
    """One epoch.

    number: of what belongs together, and of the epoch in it: tells the orders of examples apart.
    price:  of a bit, in the loss of an example.
    speeds: factors on the learning rates, at its beginning and at its end.
    live:   whether BatchNormalization goes by the batches' own statistics; otherwise by those that will be stored.
    """

    number: tuple[int, int]
    price: float
    speeds: tuple[float, float]
    live: bool


@dataclass(frozen=True)
class Stage:
    """Epochs at one price, their speed falling from 1. number: tells stages apart."""

    number: int
    price: float
    epochs: int

    def lap(self, epoch: int) -> Lap:
        """One of its epochs."""
        first, last = (1 - (1 - LAST) * at / self.epochs for at in (epoch, epoch + 1))
        live = self.epochs == 1 or epoch < SETTLED * self.epochs - 1e-9
        return Lap((self.number, epoch), self.price, (first, last), live)


def train_epoch(learner: Pupil, school: School, lap: Lap, deadline: float = float("inf")) -> float:
    """One epoch; the mean loss.

    deadline: by `time.monotonic`. Raises: OutOfTimeError where it is reached.
    """
    tf = tensorflow()
    price = tf.constant(lap.price, tf.float32)
    steps, (first, last) = school.count // school.batch, lap.speeds
    losses = []
    for step, (inputs, answers, labels) in enumerate(drawn(school, lap.number)):
        if time.monotonic() > deadline:
            raise OutOfTimeError
        speed = first + (last - first) * step / steps
        losses.append(learner.step(inputs, answers, labels, price, tf.constant(speed, tf.float32), lap.live))
    reprice(learner)
    return float(tf.reduce_mean(tf.stack(losses)))


def drawn(
    school: School, number: tuple[int, int]
) -> Iterator[tuple[tuple[Array, ...], tuple[Array, ...], Array | None]]:
    """All examples in an order of the epoch's own, in batches. number: see `Lap`."""
    rng = np.random.default_rng((school.seed, *number))
    order = rng.permutation(school.count)
    if school.versions > 1:
        order += school.count * rng.integers(0, school.versions, school.count)
    given = school.lesson
    for start in range(0, len(order) - school.batch + 1, school.batch):
        rows = order[start : start + school.batch]
        inputs = tuple(array[rows] for array in school.examples.inputs)
        answers = tuple(array[rows] for array in given.answers)
        yield inputs, answers, None if given.labels is None else given.labels[rows]
