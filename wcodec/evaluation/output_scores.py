"""The metrics of one output of a network, with labels and compared with a baseline, summed batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wcodec.evaluation.metrics import Outputs, choose_class, hits_and_loss, output_divergence, value_variance
from wcodec.evaluation.output_kinds import OutputKind


@dataclass(frozen=True)
class OutputScores:
    """The metrics of one output; None if unknown.

    accuracy, baseline_accuracy, agreement: percent; agreement is of the predicted classes with the baseline's.
    accuracy_drop: points, baseline minus network.
    loss, baseline_loss: mean cross-entropy in nats, or mean squared error of values.
    mae, baseline_mae: mean absolute error of values.
    r2, baseline_r2: of values: 1 - squared error / variance of the labels, the mean over the units.
    output_error: sum (y - y0)^2 / sum (y0 - mean(y0))^2, y0 the baseline's output, the mean for each unit.
    """

    name: str
    accuracy: float | None = None
    baseline_accuracy: float | None = None
    accuracy_drop: float | None = None
    agreement: float | None = None
    loss: float | None = None
    baseline_loss: float | None = None
    mae: float | None = None
    baseline_mae: float | None = None
    r2: float | None = None
    baseline_r2: float | None = None
    output_error: float | None = None

    @property
    def loss_rise(self) -> float | None:
        """The percentage by which the loss is larger than the baseline's."""
        if self.loss is None or self.baseline_loss is None:
            return None
        return percent_rise(self.loss, self.baseline_loss)


def percent_rise(loss: float, before: float) -> float:
    """The percentage by which a loss is larger than before; infinite if it was 0."""
    if before <= 0:
        return 0.0 if loss <= before else float("inf")
    return 100 * (loss / before - 1)


@dataclass(frozen=True)
class LabelSums:
    """Of one batch: means of hits (0..1) and loss; for values sums of squared and of absolute errors, [units]."""

    hits: float | None
    loss: float
    squares: Outputs | None
    absolute: float


@dataclass(frozen=True)
class BatchSums:
    """One batch of one output.

    same:    the fraction of rows with the baseline's class.
    error:   sum (y - y0)^2.
    moments: sums of y0 - centre and of its square, float64[2, units].
    """

    count: int
    own: LabelSums | None
    baseline: LabelSums | None
    same: float | None
    error: float
    moments: Outputs | None
    rows: int


def measure_batch(
    kind: OutputKind, outputs: Outputs, originals: Outputs | None, at: slice, centre: Outputs | None
) -> BatchSums:
    """The sums of one batch of an output. centre: about the baseline's mean of each unit, the same in all batches."""
    count, rows = at.stop - at.start, outputs.size // outputs.shape[-1]
    own = _by_labels(kind, outputs, at)
    if originals is None or centre is None:
        return BatchSums(count, own, None, None, 0.0, None, rows)
    same = None
    if not kind.values:
        chosen = [choose_class(kind.rows(one), probabilities=kind.probabilities) for one in (outputs, originals)]
        same = float((chosen[0] == chosen[1]).mean())
    flat = (originals - centre).reshape(rows, -1)
    moments = np.stack([flat.sum(axis=0), np.square(flat).sum(axis=0)])
    error = float(np.square(outputs - originals).sum())
    return BatchSums(count, own, _by_labels(kind, originals, at), same, error, moments, rows)


def _by_labels(kind: OutputKind, outputs: Outputs, at: slice) -> LabelSums | None:
    if kind.truth is None:
        return None
    hits, loss = hits_and_loss(outputs, kind.truth, at, probabilities=kind.probabilities)
    if not kind.values:
        return LabelSums(hits, loss, None, 0.0)
    miss = (outputs - kind.truth.labels[at]).reshape(-1, outputs.shape[-1])
    return LabelSums(hits, loss, np.square(miss).sum(axis=0), float(np.abs(miss).mean()))


def score_output(kind: OutputKind, batches: Sequence[BatchSums]) -> OutputScores:
    """All batches of an output together."""
    count = sum(one.count for one in batches)

    def mean(values: list[float | None]) -> float | None:
        known = [one.count * value for one, value in zip(batches, values, strict=True) if value is not None]
        return sum(known) / count if len(known) == len(batches) else None

    accuracy, loss, mae, r2 = _score_labels(kind, [one.own for one in batches], mean)
    baseline_accuracy, baseline_loss, baseline_mae, baseline_r2 = _score_labels(
        kind, [one.baseline for one in batches], mean
    )
    return OutputScores(
        kind.name,
        accuracy,
        baseline_accuracy,
        None if accuracy is None or baseline_accuracy is None else baseline_accuracy - accuracy,
        _to_percent(mean([one.same for one in batches])),
        loss,
        baseline_loss,
        mae,
        baseline_mae,
        r2,
        baseline_r2,
        _compute_relative_error(batches),
    )


def _to_percent(mean: float | None) -> float | None:
    return None if mean is None else 100 * mean


def _score_labels(
    kind: OutputKind, sums: Sequence[LabelSums | None], mean: Callable[[list[float | None]], float | None]
) -> tuple[float | None, float | None, float | None, float | None]:
    """Accuracy in percent, loss, mean absolute error and R2."""
    known = [one for one in sums if one is not None]
    if len(known) < len(sums) or kind.truth is None:
        return None, None, None, None
    accuracy, loss = _to_percent(mean([one.hits for one in known])), mean([one.loss for one in known])
    squares = [one.squares for one in known if one.squares is not None]
    if not squares:
        return accuracy, loss, None, None
    labels = np.asarray(kind.truth.labels, np.float64).reshape(-1, kind.truth.labels.shape[-1])
    spread = np.square(labels - labels.mean(axis=0)).sum(axis=0)
    parts = np.sum(squares, axis=0)[spread > 0] / spread[spread > 0]
    return accuracy, loss, mean([one.absolute for one in known]), 1 - float(parts.mean()) if parts.size else None


def _compute_relative_error(batches: Sequence[BatchSums]) -> float | None:
    """The squared error divided by the variance of the baseline's output; None if the variance is 0."""
    moments = [one.moments for one in batches if one.moments is not None]
    if not moments:
        return None
    sums, rows = np.sum(moments, axis=0), sum(one.rows for one in batches)
    spread = float(np.maximum(sums[1] - np.square(sums[0]) / rows, 0.0).sum())
    error = sum(one.error for one in batches)
    return error / spread if spread > 0 else None if error else 0.0


def worst_rise(kind: OutputKind, outputs: Outputs, originals: Outputs) -> float:
    """The percentage by which the loss rises: as measured, or as predicted from the distance of the outputs, if that is
    more.

    Errors that are independent of those of the original add up: the squared error rises by that between the outputs, a
    cross-entropy by their KL divergence.
    """
    if kind.truth is None:
        return 0.0
    now, before = (
        hits_and_loss(one, kind.truth, slice(None), probabilities=kind.probabilities)[1] for one in (outputs, originals)
    )
    divergence = output_divergence(kind.rows(outputs), kind.rows(originals), kind.values)
    moved = divergence * (value_variance(originals) if kind.values else 1.0)
    return max(percent_rise(now, before), percent_rise(before + moved, before))
