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

FEATURE_ROWS: Final = 1000
"""About the number of rows that are looked at, spread evenly."""
MANY_FEATURES: Final = 64
UNDECIDED: Final = 0.9
"""The entropy of a softmax, relative to that of equal classes, from which MANY_FEATURES outputs are no logits: networks
with so many classes are trained to prefer some."""
DECIDED: Final = 0.3
"""The same entropy, below which outputs are certainly of classes if the entropy of the chosen ones is above VARIED."""
VARIED: Final = 0.5


@dataclass(frozen=True)
class OutputKind:
    """The kind of one output of a network.

    probabilities: whether it is of probabilities; it is of logits if this and `values` are False.
    values:        whether it predicts values, not classes.
    truth:         its labels; None without.
    multilabel:    whether each unit is the probability of a decision of its own, as after a sigmoid.
    uncertain:     whether it may be of features, not of logits, so that its values are compared too.
    """

    name: str
    probabilities: bool
    values: bool
    truth: Truth | None = None
    multilabel: bool = False
    uncertain: bool = False

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
    tasks: Sequence[PredictedTask] = (),
) -> tuple[OutputKind, ...]:
    """The kind of each output.

    outputs:       of the original network for the first examples, or for all.
    labels, count: of all examples.
    names:         of the outputs; numbers if they are unknown.
    tasks:         of the outputs, or one for all, see `model.PredictedTask`.
    Raises: RecipeError if labels do not fit.
    """
    found = []
    for number, output in enumerate(outputs):
        given = labels[number] if number < len(labels) else None
        name, own = names[number] if number < len(names) else f"output {number}", len(outputs) == len(tasks)
        task = tasks[number] if own else tasks[0] if len(set(tasks)) == 1 else "unknown"
        if given is None:
            found.append(_find_kind_by_numbers(name, output, task, own))
            continue
        inside = output.min(initial=0) >= 0 and output.max(initial=0) <= 1
        are_values = not inside and (task == "values" or (task == "unknown" and len(outputs) > 1))
        truth = read_labels(given, (count, *output.shape[1:]), are_values=are_values)
        probabilities = truth.task != "values" and (are_multilabel(output) or are_probabilities(output))
        several = truth.task == "several of many"
        found.append(OutputKind(name, probabilities, truth.task == "values", truth, several))
    return tuple(found)


def _find_kind_by_numbers(name: str, output: Outputs, task: PredictedTask, own: bool) -> OutputKind:
    """The kind of an output without labels. own: the task is that of this output, not of the network."""
    sums_to_one, sigmoids = are_probabilities(output), are_multilabel(output)
    by_loss = own and task == "multilabel" and not sums_to_one
    if output.shape[-1] == 1:
        values = (own and task == "values") or not (sums_to_one or by_loss)
        return OutputKind(name, sums_to_one and not values, values)
    values = task == "values" and (own or output.shape[-1] <= FEW_VALUES)
    if not sums_to_one and (values or (task == "unknown" and _are_features(output))):
        return OutputKind(name, probabilities=False, values=True)
    several = not _choose_one(output) if sigmoids else by_loss
    uncertain = task == "unknown" and not (sums_to_one or sigmoids or _are_clear_classes(output))
    return OutputKind(name, sums_to_one or sigmoids, values=False, multilabel=several, uncertain=uncertain)


def _choose_one(outputs: Outputs) -> bool:
    """Whether sigmoids choose one class: nearly all rows have exactly one that is more likely than not."""
    return float(((outputs > 0.5).sum(axis=-1) == 1).mean()) >= ONE_OF_MANY


def _are_features(outputs: Outputs) -> bool:
    """Whether rows are features (an embedding), not logits: of length 1, or many that hardly prefer any class."""
    rows = outputs.reshape(-1, outputs.shape[-1])
    rows = rows[:: max(1, len(rows) // FEATURE_ROWS)]
    if rows.shape[1] <= FEW_VALUES or not len(rows) or not np.isfinite(rows).all():
        return False
    if np.abs(np.linalg.norm(rows, axis=1) - 1).max() < SUM_TOLERANCE:
        return True
    return rows.shape[1] >= MANY_FEATURES and _compute_relative_entropy(rows) > UNDECIDED


def _are_clear_classes(outputs: Outputs) -> bool:
    """Whether a softmax decides in most rows, and for several classes: then its divergence keeps values too."""
    rows = outputs.reshape(-1, outputs.shape[-1])
    shares = np.bincount(rows.argmax(axis=1), minlength=rows.shape[1]) / max(1, len(rows))
    varied = -float((shares * np.log(np.maximum(shares, FLOOR))).sum()) > VARIED * math.log(rows.shape[1])
    return varied and _compute_relative_entropy(rows) < DECIDED


def _compute_relative_entropy(rows: Outputs) -> float:
    """The mean entropy of a softmax of the rows, relative to that of equal classes."""
    logs = log_probabilities(rows, probabilities=False)
    return -float((np.exp(logs) * logs).sum(axis=1).mean()) / math.log(rows.shape[1])


def measure_divergence(outputs: Sequence[Outputs], originals: Sequence[Outputs], kinds: Sequence[OutputKind]) -> float:
    """The divergence of the worst output, see `output_divergence`; multilabel outputs have the mean of the units'.
    Uncertain ones have that of values if it is larger.
    """
    every = list(zip(outputs, originals, kinds, strict=True))
    found = [output_divergence(kind.rows(y), kind.rows(y0), kind.values) for y, y0, kind in every]
    return max(found + [output_divergence(y, y0, values=True) for y, y0, kind in every if kind.uncertain])
