"""Epochs of rate-aware training: batches in random order, a rate of learning that falls, prices taken anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.learning.examples import Array, Examples
from wcodec.learning.label_loss import Lesson
from wcodec.learning.moments import Batches
from wcodec.learning.pupil import Pupil, reprice
from wcodec.learning.student import tensorflow

LAST: Final = 0.005
"""Speed at the end of a stage, which falls linearly from 1."""
SETTLED: Final = 0.8
"""Part of a stage after which statistics of BatchNormalization stay as they will be stored."""
BATCHES: Final = (32, 256)
UPDATES: Final = 200
"""Steps of an epoch, about, where batches may be that large."""


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
class Stage:
    """Epochs at one price. number: tells the seeds of stages apart; price: of a bit, in the loss of an example."""

    number: int
    price: float
    epochs: int


def settled(stage: Stage, epoch: int) -> bool:
    """Whether the statistics of BatchNormalization stay during this epoch of the stage."""
    return stage.epochs > 1 and epoch >= SETTLED * stage.epochs - 1e-9


def train_epoch(learner: Pupil, school: School, stage: Stage, epoch: int) -> float:
    """One epoch of the stage; the mean loss."""
    tf = tensorflow()
    price, live = tf.constant(stage.price, tf.float32), not settled(stage, epoch)
    steps = school.count // school.batch
    losses = []
    for step, (inputs, answers, labels) in enumerate(drawn(school, stage, epoch)):
        speed = 1 - (1 - LAST) * (epoch + step / steps) / stage.epochs
        losses.append(learner.step(inputs, answers, labels, price, tf.constant(speed, tf.float32), live))
    reprice(learner)
    return float(tf.reduce_mean(tf.stack(losses)))


def drawn(
    school: School, stage: Stage, epoch: int
) -> Iterator[tuple[tuple[Array, ...], tuple[Array, ...], Array | None]]:
    """All examples in an order of the epoch's own, in batches."""
    rng = np.random.default_rng((school.seed, stage.number, epoch))
    order = rng.permutation(school.count)
    if school.versions > 1:
        order += school.count * rng.integers(0, school.versions, school.count)
    given = school.lesson
    for start in range(0, len(order) - school.batch + 1, school.batch):
        rows = order[start : start + school.batch]
        inputs = tuple(array[rows] for array in school.examples.inputs)
        answers = tuple(array[rows] for array in given.answers)
        yield inputs, answers, None if given.labels is None else given.labels[rows]
