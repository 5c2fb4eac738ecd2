"""The quality of a changed network: how its outputs for held-out inputs differ from the original's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import (
    POINTS,
    Outputs,
    are_probabilities,
    choose_class,
    kl_divergence,
    log_probabilities,
    read_labels,
)
from wcodec.evaluation.runner import Network

if TYPE_CHECKING:
    from wcodec.calibration.session import CalibrationSession


MIN_CHANGED: Final = 20
"""Fewest changed predictions from which the lost accuracy is estimated."""
SPREAD: Final = (0.5, 1.5)
"""The true drop of nine networks of ten, as parts of the predicted one."""


@dataclass(frozen=True)
class Quality:
    """Measured against the original network.

    kl:        of the outputs in nats, see `metrics.kl_divergence`.
    agreement: percent of rows with the same predicted class, in the worst output; 100 where none predicts classes.
    doubtful:  percent of agreement that may be chance: where k of n rows disagree, about k + 1 + sqrt(k) may in truth.
    lost:      points of accuracy by the labels, less their standard error; None without labels of classes.
    expected:  points of accuracy that the changed predictions cost if the original's probabilities are right: the mean
               of p[its class] - p[the new class], in the worst output; 0 where fewer than MIN_CHANGED changed.
    """

    kl: float
    agreement: float = 100.0
    doubtful: float = 0.0
    lost: float | None = None
    expected: float = 0.0

    @property
    def drop(self) -> float:
        """Predicted points of accuracy: POINTS for 0.01 nats, or what the changed predictions cost, if that is more.

        On nine networks of 2 to 10 classes, with drops of 0.3 to 5 points, nine runs of ten lost SPREAD times this.
        KL uses every input, so few suffice; alone it was too low for networks of two and of four classes, where enough
        predictions change to be counted. The test sets of 2,000 images have an error of their own, 0.3 points.
        """
        return max(100 * POINTS * self.kl, self.expected)


def measure_quality(session: CalibrationSession, model: Network | None = None) -> Quality:
    """The quality of the session's network as it is now, or of `model`."""
    outputs = compute_outputs(session.model if model is None else model, session.held_out)
    kl = kl_divergence(outputs, session.outputs)
    compared = [
        _compare_classes(y, y0, probabilities)
        for y, y0 in zip(outputs, session.outputs, strict=True)
        if (probabilities := are_probabilities(y0)) or y0.shape[-1] > 1
    ]
    lost = _measure_loss(session, outputs[0])
    if not compared:
        return Quality(kl, lost=lost)
    part, count, _ = max(compared)
    doubtful = (1 + (part * count) ** 0.5) / count
    expected = max(cost if part * count >= MIN_CHANGED else 0.0 for part, count, cost in compared)
    return Quality(kl, 100 * (1 - part), 100 * doubtful, lost, 100 * expected)


def _compare_classes(outputs: Outputs, originals: Outputs, probabilities: bool) -> tuple[float, int, float]:
    """The part of rows whose class changed, the number of rows, and the mean cost by the original's probabilities."""
    now, before = (choose_class(one, probabilities=probabilities)[..., None] for one in (outputs, originals))
    logs = log_probabilities(originals, probabilities=probabilities)
    cost = np.exp(np.take_along_axis(logs, before, -1)) - np.exp(np.take_along_axis(logs, now, -1))
    return float((now != before).mean()), now.size, float(cost.mean())


def _measure_loss(session: CalibrationSession, outputs: Outputs) -> float | None:
    labels, originals = session.held_out.labels, session.outputs[0]
    if labels is None:
        return None
    truth = read_labels(labels, originals.shape, originals)
    if truth.task not in ("classes", "yes or no"):
        return None
    kind = are_probabilities(originals)
    before, now = (truth.labels == choose_class(one, probabilities=kind) for one in (originals, outputs))
    change = before.astype(np.float64) - now
    return float(100 * (change.mean() - change.std() / change.size**0.5))
