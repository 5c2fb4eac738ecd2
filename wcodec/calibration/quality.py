"""The quality of a changed network: how its outputs for held-out inputs differ from those of the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import (
    POINTS,
    Outputs,
    choose_class,
    hits_and_loss,
    log_probabilities,
    row_divergences,
    value_variance,
)
from wcodec.evaluation.output_kinds import OutputKind, measure_divergence
from wcodec.evaluation.output_scores import worst_rise
from wcodec.evaluation.runner import Network

if TYPE_CHECKING:
    from wcodec.calibration.session import CalibrationSession


MIN_CHANGED: Final = 20
"""The smallest number of changed predictions from which the lost accuracy is estimated."""
SMALL: Final = 0.001
"""Fewer nats are printed with an exponent."""
LEAST_COST: Final = 0.02
"""The smallest cost of a changed prediction, in accuracy. If the original's classes are equally likely, as those of a
network that is not trained, its probabilities count every change as free, and all predictions might change."""
Z: Final = 1.282
"""The quantile 0.9 of the normal distribution."""
SPREAD: Final = (0.5, 1.5)
"""The range of the true drop for nine networks of ten, as fractions of the predicted one."""


@dataclass(frozen=True)
class Quality:
    """The quality, compared with the original network.

    kl:        of the outputs in nats, see `output_kinds.measure_divergence`.
    agreement: the percentage of rows with the same predicted class, in the worst output; 100 if no output predicts
               classes.
    doubtful:  the percentage of agreement that may be chance: if k of n rows disagree, about k + 1 + sqrt(k) may do so
               in truth.
    lost:      points of accuracy by the labels, minus their standard error; None without labels of classes.
    expected:  points of accuracy that the changed predictions cost if the original's probabilities are right: the mean
               of p[its class] - p[the new class], at least LEAST_COST for each, in the worst output; 0 if fewer than
               MIN_CHANGED changed.
    exchanged: the same if fewer changed, estimated from the changes of all rows, see `_exchange_changes`.
    chance:    points of accuracy that a larger sample may add to the prediction of `kl`, see `_sampling_margin`.
    loss_rise: of the worst output, see `worst_rise`; None without labels.
    values:    whether no output predicts classes.
    """

    kl: float
    agreement: float = 100.0
    doubtful: float = 0.0
    lost: float | None = None
    expected: float = 0.0
    exchanged: float = 0.0
    chance: float = 0.0
    loss_rise: float | None = None
    values: bool = False

    @property
    def drop(self) -> float:
        """Predicted points of accuracy: POINTS for 0.01 nats, or the cost of the changed predictions if that is larger.

        On nine networks of 2 to 10 classes, with drops of 0.3 to 5 points, nine runs of ten lost SPREAD times this. KL
        uses every input, so few inputs suffice. Alone it was too low for networks of two and of four classes, where
        enough predictions change to be counted, or changes can be exchanged between rows. The test sets of 2,000 images
        have a standard error of 0.3 points.
        """
        return max(100 * POINTS * self.kl, self.expected, self.exchanged)


def describe_divergence(kl: float, values: bool) -> str:
    """A divergence in words."""
    if values:
        return f"output error {kl:.2e}"
    return f"{kl:.1e} nats" if 0.0 < kl < SMALL else f"{kl:.4f} nats"


def measure_quality(session: CalibrationSession, model: Network | None = None) -> Quality:
    """The quality of the session's network as it is now, or of `model`."""
    outputs = compute_outputs(session.model if model is None else model, session.held_out)
    triples = list(zip(session.kinds, outputs, session.outputs, strict=True))
    kl = measure_divergence(outputs, session.outputs, session.kinds)
    if not np.isfinite(kl):
        infinite = float("inf")
        return Quality(infinite, 0.0, 0.0, 100.0, 100.0, loss_rise=infinite, values=not session.predicts_classes)
    classes = [(kind.rows(y), kind.rows(y0), kind.probabilities) for kind, y, y0 in triples if not kind.values]
    compared = [_compare_classes(*one) for one in classes]
    lost = max((drop for one in triples if (drop := _measure_drop(*one)) is not None), default=None)
    rise = max((worst_rise(*one) for one in triples if one[0].truth is not None), default=None)
    if not compared:
        return Quality(kl, loss_rise=rise, values=True)
    part, count, _ = max(compared)
    doubtful = (1 + (part * count) ** 0.5) / count
    expected = max(cost if part * count >= MIN_CHANGED else 0.0 for part, count, cost in compared)
    exchanged = max(
        0.0 if part * count >= MIN_CHANGED else _exchange_changes(*one)
        for one, (part, count, _) in zip(classes, compared, strict=True)
    )
    chance = 100 * POINTS * max(_find_sampling_margin(row_divergences(y, y0)) for y, y0, _ in classes)
    return Quality(kl, 100 * (1 - part), 100 * doubtful, lost, 100 * expected, 100 * exchanged, chance, rise)


def _compare_classes(outputs: Outputs, originals: Outputs, probabilities: bool) -> tuple[float, int, float]:
    """The fraction of rows whose class changed, the number of rows, and the mean cost by the original."""
    now, before = (choose_class(one, probabilities=probabilities)[..., None] for one in (outputs, originals))
    logs = log_probabilities(originals, probabilities=probabilities)
    cost = np.exp(np.take_along_axis(logs, before, -1)) - np.exp(np.take_along_axis(logs, now, -1))
    part = float((now != before).mean())
    return part, now.size, max(float(cost.mean()), LEAST_COST * part)


def _exchange_changes(outputs: Outputs, originals: Outputs, probabilities: bool) -> float:
    """The mean cost of changed classes, as if every row had the change of many other rows, with either sign.

    A change is that of the log odds between the two most likely classes of a row. Only the half of the rows with the
    smallest log odds is used, because the others change by more. Few rows are enough, because n rows are combined with
    n / 2 changes.
    """
    now, before = (log_probabilities(one, probabilities=probabilities) for one in (outputs, originals))
    first_two = np.argsort(-before, axis=-1)[..., :2]
    odds = np.take_along_axis(before, first_two, -1).reshape(-1, 2).astype(np.float64)
    moved = np.take_along_axis(now, first_two, -1).reshape(-1, 2) - odds
    margins = odds[:, 0] - odds[:, 1]
    near = np.argsort(margins, kind="stable")[: max(1, len(margins) // 2)]
    changes = np.sort(np.abs(moved[near, 0] - moved[near, 1]))
    larger = 1 - np.searchsorted(changes, margins, side="right") / len(changes)
    return float(((np.exp(odds[:, 0]) - np.exp(odds[:, 1])) * larger / 2).mean())


def _find_sampling_margin(divergences: npt.NDArray[np.floating]) -> float:
    """A margin that is added to the mean over examples, so that nine samples of ten are not below the true mean.

    A row compares the changed network with the original, so differences between examples cancel. The margin is
    Student's t, corrected for skewness: few examples have most of the divergence, and a sample without them
    underestimates both mean and variance (Johnson 1978, Modified t tests and confidence intervals for asymmetrical
    populations).
    """
    examples = divergences.reshape(len(divergences), -1).mean(axis=1, dtype=np.float64)
    count, spread = len(examples), float(examples.std())
    if count < 2 or not spread:
        return 0.0
    third = float(((examples - examples.mean()) ** 3).mean())
    quantile = Z + (Z**3 + Z) / (4 * (count - 1))  # of Student's t, the first term of its expansion
    skew = third / (6 * count * spread**2) * (1 + 2 * quantile**2)
    return float(quantile * spread / (count - 1) ** 0.5 + skew)


def _measure_drop(kind: OutputKind, outputs: Outputs, originals: Outputs) -> float | None:
    """Points of accuracy lost by the labels, minus their standard error; None without labels of classes."""
    if kind.truth is None or kind.values:
        return None
    labels = kind.truth.labels
    before, now = (
        labels == choose_class(kind.rows(one), probabilities=kind.probabilities) for one in (originals, outputs)
    )
    change = before.astype(np.float64) - now
    return float(100 * (change.mean() - change.std() / change.size**0.5))


def divergence_of_rise(session: CalibrationSession, percent: float) -> float | None:
    """The divergence that predicts a rise of the loss by this percentage, in the most sensitive output.

    See `worst_rise`; None without labels.
    """
    bounds = []
    for kind, y0 in zip(session.kinds, session.outputs, strict=True):
        if kind.truth is not None:
            before = hits_and_loss(y0, kind.truth, slice(None), probabilities=kind.probabilities)[1]
            bounds.append(percent / 100 * before / (value_variance(y0) if kind.values else 1.0))
    return min(bounds, default=None)
