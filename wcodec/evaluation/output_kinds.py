"""The kind of each output of a network, classes or values: by its labels, its numbers and its compiled loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.evaluation.examples import Labels
from wcodec.evaluation.metrics import (
    FLOOR,
    SUM_TOLERANCE,
    Outputs,
    Truth,
    are_multilabel,
    are_probabilities,
    log_probabilities,
    output_divergence,
    read_labels,
)
from wcodec.model import PredictedTask

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor

FEW_VALUES: Final = 3
"""An unlabelled output of a network with several outputs gets a loss of values if it has at most this many units."""

ONE_OF_MANY: Final = 0.9
"""The fraction of rows with one positive decision from which sigmoids without labels are those of classes."""

MANY_FEATURES: Final = 64
UNDECIDED: Final = 0.9
"""The entropy of a softmax, relative to that of equal classes, from which MANY_FEATURES outputs are no logits: networks
with so many classes are trained to prefer some."""


@dataclass(frozen=True)
class OutputKind:
    """The kind of one output of a network.

    probabilities: whether it is of probabilities; it is of logits if this and `values` are False.
    values:        whether it predicts values, not classes.
    truth:         its labels; None without.
    multilabel:    whether each unit is the probability of a decision of its own, as after a sigmoid.
    """

    name: str
    probabilities: bool
    values: bool
    truth: Truth | None = None
    multilabel: bool = False

    def logits(self, tf: ModuleType, outputs: Tensor) -> Tensor:
        """Logits of the classes of every row, in TensorFlow; one unit becomes two classes."""
        rows = outputs[..., None] if self.multilabel else outputs
        if self.probabilities:
            rows = tf.concat([1 - rows, rows], -1) if rows.shape[-1] == 1 else rows
            return tf.math.log(tf.maximum(rows, FLOOR))
        return tf.concat([tf.zeros_like(rows), rows], -1) if rows.shape[-1] == 1 else rows

    def rows(self, outputs: Outputs) -> Outputs:
        """The outputs with one prediction in each row of the last axis: every unit is a row if they are multilabel."""
        return outputs[..., None] if self.multilabel else outputs


def output_kinds(
    outputs: Sequence[Outputs],
    labels: Labels,
    count: int,
    *,
    names: Sequence[str] = (),
    task: PredictedTask = "unknown",
) -> tuple[OutputKind, ...]:
    """The kind of each output.

    outputs:       of the original network for the first examples, or for all.
    labels, count: of all examples.
    names:         of the outputs; numbers if they are unknown.
    task:          of the network, see `model.PredictedTask`.
    Raises: RecipeError if labels do not fit.
    """
    found = []
    for number, output in enumerate(outputs):
        given = labels[number] if number < len(labels) else None
        inside = output.min(initial=0) >= 0 and output.max(initial=0) <= 1
        are_values = not inside and (task == "values" or (task == "unknown" and len(outputs) > 1))
        truth = None if given is None else read_labels(given, (count, *output.shape[1:]), are_values=are_values)
        name = names[number] if number < len(names) else f"output {number}"
        sigmoids, few = are_multilabel(output), output.shape[-1] <= FEW_VALUES
        probabilities = sigmoids or are_probabilities(output)
        if truth is not None:
            values = truth.task == "values"
        elif output.shape[-1] == 1:
            values = (not probabilities and task != "multilabel") or (task == "values" and len(outputs) == 1)
        else:
            values = (sigmoids or not probabilities) and task == "values" and (len(outputs) == 1 or few)
            values = values or (task == "unknown" and not are_probabilities(output) and _are_features(output))
        by_loss = task == "multilabel" and len(outputs) == 1 and output.shape[-1] > 1 and not probabilities
        independent = by_loss or (sigmoids and not _choose_one(output))
        multilabel = not values and (independent if truth is None else truth.task == "several of many")
        found.append(OutputKind(name, probabilities and not values, values, truth, multilabel))
    return tuple(found)


def _choose_one(outputs: Outputs) -> bool:
    """Whether sigmoids choose one class: nearly all rows have exactly one that is more likely than not."""
    return float(((outputs > 0.5).sum(axis=-1) == 1).mean()) >= ONE_OF_MANY


def _are_features(outputs: Outputs) -> bool:
    """Whether rows are features (an embedding), not logits: of length 1, or many that hardly prefer any class."""
    rows = outputs.reshape(-1, outputs.shape[-1])
    if rows.shape[1] <= FEW_VALUES or not len(rows) or not np.isfinite(rows).all():
        return False
    if np.abs(np.linalg.norm(rows, axis=1) - 1).max() < SUM_TOLERANCE:
        return True
    logs = log_probabilities(rows, probabilities=False)
    entropy = -float((np.exp(logs) * logs).sum(axis=1).mean())
    return rows.shape[1] >= MANY_FEATURES and entropy > UNDECIDED * math.log(rows.shape[1])


def measure_divergence(outputs: Sequence[Outputs], originals: Sequence[Outputs], kinds: Sequence[OutputKind]) -> float:
    """The divergence of the worst output, see `output_divergence`; multilabel outputs have the mean of the units'."""
    every = zip(outputs, originals, kinds, strict=True)
    return max(output_divergence(kind.rows(y), kind.rows(y0), kind.values) for y, y0, kind in every)
