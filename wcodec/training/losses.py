"""What a network in training is asked: the labels, and the answers of the network that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.metrics import FLOOR, Outputs, Truth, are_probabilities

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor


ANSWERS: Final = 0.5
"""Part of the loss that is the divergence from the answers; the rest is the labels'."""

Target = npt.NDArray[np.float32] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lesson:
    """What all outputs are trained to.

    labels:  of the first output, examples first, or None; answers: one array an output, examples first.
    kinds:   whether an output is of probabilities; spreads: the variance of its answers, and at last of the labels.
    part:    of the loss that the answers have, where there are labels.
    """

    task: str | None
    labels: Target | None
    answers: tuple[npt.NDArray[np.float32], ...]
    kinds: tuple[bool, ...]
    spreads: tuple[float, ...]
    part: float = ANSWERS


def lesson(answers: tuple[Outputs, ...], truth: Truth | None) -> Lesson:
    """From the answers of the original for all examples, and what is known to be true."""
    labels: Target | None = None
    if truth is not None:
        whole = truth.task in ("classes", "yes or no")
        labels = truth.labels.astype(np.int64) if whole else truth.labels.astype(np.float32)
    spreads = [max(float(output.var()), 1e-30) for output in answers]
    spreads.append(max(float(labels.var()), 1e-30) if labels is not None else 1.0)
    return Lesson(
        task=None if truth is None else truth.task,
        labels=labels,
        answers=tuple(output.astype(np.float32) for output in answers),
        kinds=tuple(are_probabilities(output) for output in answers),
        spreads=tuple(spreads),
    )


def lesson_loss(
    tf: ModuleType, given: Lesson, outputs: Sequence[Tensor], answers: Sequence[Tensor], labels: Tensor | None
) -> Tensor:
    """The mean loss of a batch."""
    outputs = [tf.cast(output if output.shape.rank > 1 else output[:, None], "float32") for output in outputs]
    apart = [
        distance(tf, output, answer, kind, spread)
        for output, answer, kind, spread in zip(outputs, answers, given.kinds, given.spreads, strict=False)
    ]
    moved = tf.add_n(apart)
    if labels is None:
        return moved
    wrong = _wrong(tf, given, outputs[0], labels)
    return given.part * moved + (1 - given.part) * wrong


def _wrong(tf: ModuleType, given: Lesson, output: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats, or the squared error over the variance."""
    if given.task == "values":
        return tf.reduce_mean(tf.square(output - labels)) / given.spreads[-1]
    if given.task == "several of many":
        if not given.kinds[0] and not _between(given):
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, output))
        chosen = tf.where(labels > 0, output, 1 - output)
        return -tf.reduce_mean(tf.math.log(tf.maximum(chosen, FLOOR)))
    scores = scores_of(tf, output, given.kinds[0])
    if scores.shape[-1] == 1:
        scores = tf.concat([tf.zeros_like(scores), scores], -1)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))


def _between(given: Lesson) -> bool:
    """Whether all answers of the first output are between 0 and 1: units that say yes or no, each for itself."""
    first = given.answers[0]
    return bool(first.min(initial=0) >= 0 and first.max(initial=0) <= 1)


TEMPERATURE: Final = 2.0
"""Of the answers; warm ones tell more of an input than its class."""


def distance(tf: ModuleType, outputs: Tensor, answers: Tensor, probabilities: bool, spread: float) -> Tensor:
    """T^2 KL at temperature T (Hinton et al. 2015); of values, the squared error over the variance."""
    if outputs.shape.rank == 1:
        outputs = outputs[:, None]
    if outputs.shape[-1] == 1 and not probabilities:
        return tf.reduce_mean(tf.square(outputs - answers)) / spread
    before, now = (tf.nn.log_softmax(scores_of(tf, one, probabilities) / TEMPERATURE) for one in (answers, outputs))
    return TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(before) * (before - now), axis=-1))


def scores_of(tf: ModuleType, given: Tensor, probabilities: bool) -> Tensor:
    """Logarithms of probabilities, or what they are made of; one unit that is a probability becomes no and yes."""
    if not probabilities:
        return given
    both = tf.concat([1 - given, given], -1) if given.shape[-1] == 1 else given
    return tf.math.log(tf.maximum(both, FLOOR))
