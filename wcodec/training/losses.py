"""The loss of a network in training: of the labels, and of the outputs of the network that it comes from."""

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


DISTILLATION: Final = 0.5
"""Part of the loss that is the distance from the original's outputs; the rest is the labels'."""

Target = npt.NDArray[np.float32] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class LossTargets:
    """What the outputs of a network are trained to.

    labels:        of the first output, examples first, or None; outputs: of the original, one array each.
    probabilities: whether an output is of probabilities; variances: of the outputs, and at last of the labels.
    weight:        part of the loss that the distance from the outputs has, where there are labels.
    """

    task: str | None
    labels: Target | None
    outputs: tuple[npt.NDArray[np.float32], ...]
    probabilities: tuple[bool, ...]
    variances: tuple[float, ...]
    weight: float = DISTILLATION


def build_targets(outputs: tuple[Outputs, ...], truth: Truth | None) -> LossTargets:
    """From the outputs of the original for all examples, and the labels."""
    labels: Target | None = None
    if truth is not None:
        whole = truth.task in ("classes", "yes or no")
        labels = truth.labels.astype(np.int64) if whole else truth.labels.astype(np.float32)
    variances = [max(float(output.var()), 1e-30) for output in outputs]
    variances.append(max(float(labels.var()), 1e-30) if labels is not None else 1.0)
    return LossTargets(
        task=None if truth is None else truth.task,
        labels=labels,
        outputs=tuple(output.astype(np.float32) for output in outputs),
        probabilities=tuple(are_probabilities(output) for output in outputs),
        variances=tuple(variances),
    )


def compute_loss(
    tf: ModuleType, targets: LossTargets, outputs: Sequence[Tensor], wanted: Sequence[Tensor], labels: Tensor | None
) -> Tensor:
    """The mean loss of a batch."""
    outputs, wanted = (
        [tf.cast(one if one.shape.rank > 1 else one[:, None], "float32") for one in some] for some in (outputs, wanted)
    )
    pairs = zip(outputs, wanted, targets.probabilities, targets.variances, strict=False)
    distance = tf.add_n([distillation_loss(tf, *one) for one in pairs])
    if labels is None:
        return distance
    return targets.weight * distance + (1 - targets.weight) * task_loss(tf, targets, outputs[0], labels)


def task_loss(tf: ModuleType, targets: LossTargets, output: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats, or the squared error over the variance."""
    if targets.task == "values":
        return tf.reduce_mean(tf.square(output - labels)) / targets.variances[-1]
    if targets.task == "several of many":
        if not targets.probabilities[0] and not _between(targets):
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, output))
        chosen = tf.where(labels > 0, output, 1 - output)
        return -tf.reduce_mean(tf.math.log(tf.maximum(chosen, FLOOR)))
    scores = as_logits(tf, output, targets.probabilities[0])
    if scores.shape[-1] == 1:
        scores = tf.concat([tf.zeros_like(scores), scores], -1)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))


def _between(targets: LossTargets) -> bool:
    """Whether the first output is between 0 and 1 everywhere: units that say yes or no, each for itself."""
    first = targets.outputs[0]
    return bool(first.min(initial=0) >= 0 and first.max(initial=0) <= 1)


TEMPERATURE: Final = 2.0
"""Of the softmax: at a higher one the outputs tell more of an input than its class."""


def distillation_loss(tf: ModuleType, outputs: Tensor, wanted: Tensor, probabilities: bool, variance: float) -> Tensor:
    """T^2 KL at temperature T (Hinton et al. 2015); of values, the squared error over the variance."""
    if outputs.shape[-1] == 1 and not probabilities:
        return tf.reduce_mean(tf.square(outputs - wanted)) / variance
    before, now = (tf.nn.log_softmax(as_logits(tf, one, probabilities) / TEMPERATURE) for one in (wanted, outputs))
    return TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(before) * (before - now), axis=-1))


def as_logits(tf: ModuleType, given: Tensor, probabilities: bool) -> Tensor:
    """Logarithms of probabilities, or what they are made of; one unit that is a probability becomes no and yes."""
    if not probabilities:
        return given
    both = tf.concat([1 - given, given], -1) if given.shape[-1] == 1 else given
    return tf.math.log(tf.maximum(both, FLOOR))
