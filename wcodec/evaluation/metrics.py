"""Metrics of a network's outputs, summed batch by batch in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array

Outputs = npt.NDArray[np.float64]
Task = Literal["classes", "yes or no", "several of many", "values"]
SUM_TOLERANCE = 1e-2
"""Rows of probabilities in bfloat16 have sums of 1 within 4e-3."""
FLOOR = 1e-7
"""The smallest probability in a logarithm, as in Keras."""


def are_probabilities(outputs: Outputs) -> bool:
    """Whether rows over the last axis are distributions: >= 0, of a sum of about 1. One unit: between 0 and 1."""
    if not np.isfinite(outputs).all() or outputs.min(initial=0) < 0:
        return False
    if outputs.shape[-1] == 1:
        return bool(outputs.max(initial=0) <= 1)
    return bool(np.abs(outputs.sum(axis=-1) - 1).max(initial=0) <= SUM_TOLERANCE)


def are_multilabel(outputs: Outputs) -> bool:
    """Whether each of several units is a probability of its own: all between 0 and 1, and rows no distributions."""
    inside = outputs.shape[-1] > 1 and outputs.min(initial=0) >= 0 and outputs.max(initial=0) <= 1
    return bool(inside) and not are_probabilities(outputs)


def log_probabilities(outputs: Outputs, *, probabilities: bool) -> Outputs:
    """Natural logarithms of the class probabilities.

    One unit becomes two classes; probabilities whose rows are no distributions (sigmoids) are divided by their sum.
    """
    if outputs.shape[-1] == 1:
        if probabilities:
            outputs = np.concatenate([1 - outputs, outputs], axis=-1)
        else:
            outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=-1)
    if probabilities:
        if are_multilabel(outputs):
            outputs = outputs / np.maximum(outputs.sum(axis=-1, keepdims=True), FLOOR)
        logs: Outputs = np.log(np.maximum(outputs, FLOOR))
        return logs
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


def choose_class(outputs: Outputs, *, probabilities: bool) -> npt.NDArray[np.intp]:
    """The predicted class of a row: its largest output; with a single unit 1 if it is more likely than not."""
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > (0.5 if probabilities else 0)).astype(np.intp)
    chosen: npt.NDArray[np.intp] = np.argmax(outputs, axis=-1)
    return chosen


@dataclass(frozen=True)
class Truth:
    """Labels, and their kind.

    labels: class numbers int64[n, ...] for "classes" and "yes or no"; otherwise float64 in the outputs' shape.
    """

    task: Task
    labels: npt.NDArray[np.int64] | Outputs

    @property
    def is_real(self) -> bool:
        """Whether the labels have the outputs' shape."""
        return self.task in ("several of many", "values")


def read_labels(labels: Array, shape: tuple[int, ...], *, are_values: bool = False) -> Truth:
    """Interpret `labels` for outputs of `shape` (examples along the first axis).

    are_values: the network predicts values, so that labels of zeros and ones in its outputs' shape may be values.
    Raises: RecipeError if the labels fit neither as classes nor as values.
    """
    units = shape[-1]
    per_row = labels[..., 0] if labels.shape == (*shape[:-1], 1) else labels
    if per_row.shape == shape[:-1]:
        whole = _are_whole(per_row)
        if units > 1 and whole and per_row.min() >= 0 and per_row.max() < units:
            return Truth("classes", per_row.astype(np.int64))
        if units == 1 and whole and per_row.min() >= 0 and per_row.max() <= 1:
            return Truth("yes or no", per_row.astype(np.int64))
        if units == 1:
            return Truth("values", per_row[..., None].astype(np.float64))
        if whole:
            raise RecipeError(
                f"labels: expected classes 0..{units - 1}, got {int(per_row.min())}..{int(per_row.max())}"
            )
        if labels.shape != shape:
            raise RecipeError(f"labels: expected whole numbers 0..{units - 1} or shape {shape}, got {labels.dtype}")
    if labels.shape != shape:
        raise RecipeError(f"labels: expected shape {shape[:-1]} or {shape}, got {labels.shape}")
    if _are_whole(labels) and labels.min() >= 0 and labels.max() <= 1:
        if bool((labels.sum(axis=-1) == 1).all()):
            return Truth("classes", np.argmax(labels, axis=-1).astype(np.int64))
        if not are_values:
            return Truth("several of many", labels.astype(np.float64))
    return Truth("values", labels.astype(np.float64))


def _are_whole(labels: Array) -> bool:
    if labels.dtype.kind in "bui":
        return True
    return labels.dtype.kind == "f" and not np.mod(labels.astype(np.float64), 1).any()


def hits_and_loss(outputs: Outputs, truth: Truth, at: slice, *, probabilities: bool) -> tuple[float | None, float]:
    """Mean accuracy (0..1; None for values) and mean loss of one batch: cross-entropy in nats, or squared error."""
    hits, losses = find_hits_and_losses(outputs, truth, at, probabilities=probabilities)
    return None if hits is None else float(hits.mean()), float(losses.mean())


def find_hits_and_losses(
    outputs: Outputs, truth: Truth, at: slice, *, probabilities: bool
) -> tuple[npt.NDArray[np.bool_] | None, Outputs]:
    """The hits (None for values) and the losses behind `hits_and_loss`, with the examples along the first axis."""
    labels = truth.labels[at]
    if truth.task == "values":
        return None, np.square(outputs - labels)
    if truth.task == "several of many":
        every = log_probabilities(outputs[..., None], probabilities=probabilities)
        hits = (outputs > (0.5 if probabilities else 0)) == (labels > 0)
        return hits, -np.where(labels > 0, every[..., 1], every[..., 0])
    classes = labels.astype(np.int64)
    logs = log_probabilities(outputs, probabilities=probabilities)
    hits = choose_class(outputs, probabilities=probabilities) == classes
    return hits, -np.take_along_axis(logs, classes[..., None], axis=-1)


POINTS: Final = 0.42
"""Points of accuracy that 0.01 nats of divergence cost, on nine networks, +-40 % on one run; see `Quality.drop`."""


def value_variance(outputs: Outputs) -> float:
    """The variance of values: the mean over their units."""
    return max(float(outputs.reshape(-1, outputs.shape[-1]).var(axis=0).mean()), 1e-30)


def output_divergence(outputs: Outputs, originals: Outputs, values: bool) -> float:
    """The KL divergence of one output in nats; for values, the squared error / variance."""
    if not np.isfinite(outputs).all():
        return float("inf")
    if values:
        return float(np.square(outputs - originals).mean()) / value_variance(originals)
    return float(row_divergences(outputs, originals).mean())


def row_divergences(outputs: Outputs, originals: Outputs) -> Outputs:
    """The KL divergence of each row of an output of classes, in nats."""
    probabilities = are_probabilities(originals) or are_multilabel(originals)
    log_p = log_probabilities(originals, probabilities=probabilities)
    log_q = log_probabilities(outputs, probabilities=probabilities)
    divergences: Outputs = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return divergences
