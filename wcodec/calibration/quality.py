"""What a changed network's answers are worth, on inputs kept apart."""

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

if TYPE_CHECKING:
    from keras import Model

    from wcodec.calibration.session import CalibrationSession


MIN_CHANGED: Final = 20
"""Changed choices from which on they tell what they cost."""
SPREAD: Final = (0.5, 1.5)
"""What nine networks of ten lost, of what was predicted."""


@dataclass(frozen=True)
class Quality:
    """Measured beside the original.

    kl:         of the outputs, in nats, see `metrics.kl_divergence`.
    agreement:  percent of rows that choose the same class, in the worst output; 100 where none chooses.
    doubtful:   percent that chance may have added to it: of n rows k disagree, at most about k + 1 + sqrt(k) in truth.
    lost:       points of accuracy by the labels, less their standard error; None without labels of classes.
    expected:   points of accuracy that the changed choices cost if the original's probabilities are right: the mean of
                p[its choice] - p[the new choice], in the worst output; 0 where fewer than TOLD choices changed.
    """

    kl: float
    agreement: float = 100.0
    doubtful: float = 0.0
    lost: float | None = None
    expected: float = 0.0

    @property
    def drop(self) -> float:
        """Points of accuracy predicted: POINTS for each nat, or what the changed choices cost, if that is more.

        On nine networks of 2 to 10 classes, drops of 0.3 to 5 points, nine of ten runs lost SPREAD times this. The
        divergence uses every input, so few are enough; alone it was too kind to networks of two and of four classes,
        whose changed choices are many enough to be told. Test sets of 2,000 images have their own error, 0.3 points.
        """
        return max(100 * POINTS * self.kl, self.expected)


def measure_quality(session: CalibrationSession, model: Model | None = None) -> Quality:
    """The verdict on the network as it is now, or on `model`."""
    answers = compute_outputs(session.model if model is None else model, session.held_out)
    moved = kl_divergence(answers, session.outputs)
    choices = [
        _compare_choices(y, y0, are)
        for y, y0 in zip(answers, session.outputs, strict=True)
        if (are := are_probabilities(y0)) or y0.shape[-1] > 1
    ]
    if not choices:
        return Quality(moved, lost=_measure_loss(session, answers[0]))
    part, count, _ = max(choices)
    doubt = (1 + (part * count) ** 0.5) / count
    expected = max(cost if part * count >= MIN_CHANGED else 0.0 for part, count, cost in choices)
    return Quality(moved, 100 * (1 - part), 100 * doubt, _measure_loss(session, answers[0]), 100 * expected)


def _compare_choices(answers: Outputs, originals: Outputs, are: bool) -> tuple[float, int, float]:
    """The part of the rows that choose otherwise, how many rows there are, and the mean cost by the original."""
    chosen, right = (choose_class(outputs, probabilities=are)[..., None] for outputs in (answers, originals))
    logs = log_probabilities(originals, probabilities=are)
    cost = np.exp(np.take_along_axis(logs, right, -1)) - np.exp(np.take_along_axis(logs, chosen, -1))
    return float((chosen != right).mean()), chosen.size, float(cost.mean())


def _measure_loss(session: CalibrationSession, answers: Outputs) -> float | None:
    labels, originals = session.held_out.labels, session.outputs[0]
    if labels is None:
        return None
    truth = read_labels(labels, originals.shape, originals)
    if truth.task not in ("classes", "yes or no"):
        return None
    kind = are_probabilities(originals)
    right = truth.labels == choose_class(originals, probabilities=kind)
    change = right.astype(np.float64) - (truth.labels == choose_class(answers, probabilities=kind))
    return float(100 * (change.mean() - change.std() / change.size**0.5))
