"""What a changed network's answers are worth, on inputs kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wcodec.learning.divergence import divergence, outputs_of
from wcodec.learning.scores import Outputs, are_probabilities, read_labels, top

if TYPE_CHECKING:
    from keras import Model

    from wcodec.learning.subject import Subject


@dataclass(frozen=True)
class Verdict:
    """Measured beside the original.

    divergence: in nats, see `divergence.divergence`.
    agreement:  percent of rows that choose the same class, in the worst output; 100 where none chooses.
    doubtful:   percent that chance may have added to it: of n rows k disagree, at most about k + 1 + sqrt(k) in truth.
    lost:       points of accuracy by the labels, less their standard error; None without labels of classes.
    """

    divergence: float
    agreement: float = 100.0
    doubtful: float = 0.0
    lost: float | None = None


def judged(subject: Subject, model: Model | None = None) -> Verdict:
    """The verdict on the network as it is now, or on `model`."""
    answers = outputs_of(subject.model if model is None else model, subject.held_out)
    moved = divergence(answers, subject.outputs)
    choices = [
        (top(y, probabilities=are), top(y0, probabilities=are))
        for y, y0 in zip(answers, subject.outputs, strict=True)
        if (are := are_probabilities(y0)) or y0.shape[-1] > 1
    ]
    worst = max(((chosen != right).mean(), chosen.size) for chosen, right in choices) if choices else (0.0, 1)
    part, count = float(worst[0]), int(worst[1])
    doubt = (1 + (part * count) ** 0.5) / count if choices else 0.0
    return Verdict(moved, 100 * (1 - part), 100 * doubt, _lost(subject, answers[0]))


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
