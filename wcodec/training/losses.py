"""The training loss: a task loss from the labels, and a distillation loss from the outputs of the original network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.metrics import FLOOR, Outputs, value_variance
from wcodec.evaluation.output_kinds import OutputKind

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor


DISTILLATION: Final = 0.5
"""The share of the distillation loss; the rest is the task loss."""

Target = npt.NDArray[np.float32] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class LossTargets:
    """The targets of the outputs.

    kinds:     of the outputs.
    labels:    for each output an array with examples along the first axis, or None.
    outputs:   of the original network, one array each.
    variances: of each output, and of its labels if they are values.
    weight:    the share of the distillation loss if there are labels.
    """

    kinds: tuple[OutputKind, ...]
    labels: tuple[Target | None, ...]
    outputs: tuple[npt.NDArray[np.float32], ...]
    variances: tuple[tuple[float, float], ...]
    weight: float = DISTILLATION


def build_targets(outputs: tuple[Outputs, ...], kinds: tuple[OutputKind, ...]) -> LossTargets:
    """The targets, from the outputs of the original network for all examples. The kinds contain the labels."""
    labels: list[Target | None] = []
    variances = []
    for output, kind in zip(outputs, kinds, strict=True):
        truth, of_labels = kind.truth, 1.0
        if truth is None:
            labels.append(None)
        else:
            labels.append(truth.labels.astype(np.float32) if truth.is_real else truth.labels.astype(np.int64))
        if truth is not None and kind.values:
            of_labels = value_variance(truth.labels.astype(np.float64))
        variances.append((value_variance(output), of_labels))
    targets = tuple(output.astype(np.float32) for output in outputs)
    return LossTargets(kinds, tuple(labels), targets, tuple(variances))


def compute_loss(
    tf: ModuleType,
    targets: LossTargets,
    outputs: Sequence[Tensor],
    wanted: Sequence[Tensor],
    labels: Sequence[Tensor | None],
) -> Tensor:
    """The mean loss over a batch, summed over the outputs."""
    outputs, wanted = (
        [tf.cast(one if one.shape.rank > 1 else one[:, None], "float32") for one in some] for some in (outputs, wanted)
    )
    pairs = zip(outputs, wanted, targets.kinds, targets.variances, strict=False)
    distance = tf.add_n([distillation_loss(tf, *one) for one in pairs])
    known = [
        task_loss(tf, targets, number, output, one)
        for number, (output, one) in enumerate(zip(outputs, labels, strict=False))
        if one is not None
    ]
    return targets.weight * distance + (1 - targets.weight) * tf.add_n(known) if known else distance


def task_loss(tf: ModuleType, targets: LossTargets, number: int, output: Tensor, labels: Tensor) -> Tensor:
    """The task loss of one output: cross-entropy in nats, or the squared error divided by the variance."""
    kind = targets.kinds[number]
    if kind.values:
        return tf.reduce_mean(tf.square(output - labels)) / targets.variances[number][1]
    if kind.truth is not None and kind.truth.task == "several of many":
        if not kind.probabilities:
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, output))
        chosen = tf.where(labels > 0, output, 1 - output)
        return -tf.reduce_mean(tf.math.log(tf.maximum(chosen, FLOOR)))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, kind.logits(tf, output)))


TEMPERATURE: Final = 2.0
"""The temperature T of the softmax. A higher one gives more weight to the classes that are not predicted."""


def distillation_loss(
    tf: ModuleType, outputs: Tensor, wanted: Tensor, kind: OutputKind, variances: tuple[float, float]
) -> Tensor:
    """The distillation loss of one output: T^2 KL at temperature T (Hinton et al. 2015), or the squared error divided
    by the variance; both for an uncertain output.
    """
    of_values = tf.reduce_mean(tf.square(outputs - wanted)) / variances[0]
    if kind.values:
        return of_values
    before, now = (tf.nn.log_softmax(kind.logits(tf, one) / TEMPERATURE) for one in (wanted, outputs))
    of_classes = TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(before) * (before - now), axis=-1))
    return of_classes + of_values if kind.uncertain else of_classes


def useless_loss(targets: LossTargets) -> float:
    """The distillation loss of a network that tells nothing: equal probabilities for all classes, the mean of values.

    It is that of an original that is sure of its classes, summed over the outputs.
    """
    total = 0.0
    for kind, outputs in zip(targets.kinds, targets.outputs, strict=True):
        if not kind.values:
            units = 1 if kind.multilabel or outputs.ndim < 2 else outputs.shape[-1]
            total += TEMPERATURE**2 * math.log(max(2, units))
        if kind.values or kind.uncertain:
            total += 1.0
    return total
