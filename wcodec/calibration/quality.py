"""What a changed network's answers are worth, on inputs kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.evaluation.inference import outputs_of
from wcodec.evaluation.metrics import (
    POINTS,
    Outputs,
    are_probabilities,
    divergence,
    log_probabilities,
    read_labels,
    top,
)

if TYPE_CHECKING:
    from keras import Model

    from wcodec.calibration.session import Subject


TOLD: Final = 20
"""Changed choices from which on they tell what they cost."""
SPREAD: Final = (0.5, 1.5)
"""What nine networks of ten lost, of what was predicted."""


@dataclass(frozen=True)
class Verdict:
    """Measured beside the original.

    divergence: in nats, see `divergence.divergence`.
    agreement:  percent of rows that choose the same class, in the worst output; 100 where none chooses.
    doubtful:   percent that chance may have added to it: of n rows k disagree, at most about k + 1 + sqrt(k) in truth.
    lost:       points of accuracy by the labels, less their standard error; None without labels of classes.
    expected:   points of accuracy that the changed choices cost if the original's probabilities are right: the mean of
                p[its choice] - p[the new choice], in the worst output; 0 where fewer than TOLD choices changed.
    """

    divergence: float
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
        return max(100 * POINTS * self.divergence, self.expected)


def judged(subject: Subject, model: Model | None = None) -> Verdict:
    """The verdict on the network as it is now, or on `model`."""
    answers = outputs_of(subject.model if model is None else model, subject.held_out)
    moved = divergence(answers, subject.outputs)
    choices = [
        _choices(y, y0, are)
        for y, y0 in zip(answers, subject.outputs, strict=True)
        if (are := are_probabilities(y0)) or y0.shape[-1] > 1
    ]
    if not choices:
        return Verdict(moved, lost=_lost(subject, answers[0]))
    part, count, _ = max(choices)
    doubt = (1 + (part * count) ** 0.5) / count
    expected = max(cost if part * count >= TOLD else 0.0 for part, count, cost in choices)
    return Verdict(moved, 100 * (1 - part), 100 * doubt, _lost(subject, answers[0]), 100 * expected)


def _choices(answers: Outputs, originals: Outputs, are: bool) -> tuple[float, int, float]:
    """The part of the rows that choose otherwise, how many rows there are, and the mean cost by the original."""
    chosen, right = (top(outputs, probabilities=are)[..., None] for outputs in (answers, originals))
    logs = log_probabilities(originals, probabilities=are)
    cost = np.exp(np.take_along_axis(logs, right, -1)) - np.exp(np.take_along_axis(logs, chosen, -1))
    return float((chosen != right).mean()), chosen.size, float(cost.mean())


def _lost(subject: Subject, answers: Outputs) -> float | None:
    labels, originals = subject.held_out.labels, subject.outputs[0]
    if labels is None:
        return None
    truth = read_labels(labels, originals.shape, originals)
    if truth.task not in ("classes", "yes or no"):
        return None
    kind = are_probabilities(originals)
    right = truth.labels == top(originals, probabilities=kind)
    change = right.astype(np.float64) - (truth.labels == top(answers, probabilities=kind))
    return float(100 * (change.mean() - change.std() / change.size**0.5))
