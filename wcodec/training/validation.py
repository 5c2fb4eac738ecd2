"""Held-out examples with labels, by which training judges a network: what it loses, and how sure that is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.quality import Z
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Examples, spread_evenly
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import Outputs, Truth, find_hits_and_losses
from wcodec.evaluation.model_loader import model_outputs, predicted_tasks
from wcodec.evaluation.output_kinds import OutputKind, output_kinds
from wcodec.evaluation.output_scores import percent_rise

if TYPE_CHECKING:
    from keras import Model


MEASURED: Final = 0.02
"""The fraction of the time limit that measuring one network may take."""
FEW: Final = 200
"""Examples that tell how long one takes."""


class Scored(Protocol):
    """A changed network that was measured: `Candidate`."""

    @property
    def scores(self) -> tuple[OutputScore, ...]: ...
    @property
    def bytes(self) -> int: ...
    @property
    def is_predicted(self) -> bool: ...


@dataclass(frozen=True)
class OutputScore:
    """The score of one labelled output.

    accuracy:   percent; None if the labels are values (regression).
    loss:       cross-entropy in nats, or the mean squared error.
    drop_error: the standard error of the difference from the original's accuracy, in points; not 0 if none changed.
    rise_error: the standard error of the difference from the original's loss, in percent of that loss.
    """

    accuracy: float | None
    loss: float
    drop_error: float = 0.0
    rise_error: float = 0.0


@dataclass(frozen=True)
class ExampleScores:
    """The scores of every example for one labelled output.

    hits:   the fraction of correct predictions of an example, float64[n]; None if the labels are values.
    losses: its mean loss, float64[n].
    """

    hits: Outputs | None
    losses: Outputs

    def compare(self, original: ExampleScores) -> OutputScore:
        """The score, and how far the examples that were drawn may change the difference from the original's.

        The two networks are compared example by example, so that what makes an example hard for both cancels.
        """
        if not np.isfinite(self.losses).all():
            return OutputScore(None if self.hits is None else 0.0, float("inf"))
        before, rise_error = float(original.losses.mean()), _standard_error(self.losses - original.losses)
        relative = 100 * rise_error / before if before > 0 else 0.0
        if self.hits is None or original.hits is None:
            return OutputScore(None, float(self.losses.mean()), 0.0, relative)
        drop_error = 100 * _standard_error(self.hits - original.hits, least=1.0)
        return OutputScore(100 * float(self.hits.mean()), float(self.losses.mean()), drop_error, relative)


def _standard_error(differences: Outputs, least: float = 0.0) -> float:
    """The standard error of the mean of values of independent examples.

    least: the size of a difference that one more example may have: none among n says little where n is small.
    """
    return float(np.sqrt(differences.var() + least**2 / differences.size) / np.sqrt(differences.size))


@dataclass(frozen=True)
class Lost:
    """What one output loses, compared with one bound of the budget.

    lost:   points of accuracy, or percent of the loss.
    errors: the error rate of the original network in the same unit.
    limit:  the option of the command line that sets the bound.
    chance: the standard error of `lost`.
    is_predicted: whether the outputs predict that the bound holds.
    """

    lost: float
    bound: float
    errors: float
    limit: str = "max-drop"
    chance: float = 0.0
    is_predicted: bool = False

    @property
    def value(self) -> float:
        """What a bound is compared with: Z standard errors more than `lost`, which nine samples of ten do not exceed.

        A network that is trained with labels has other outputs than the original without being worse, so that only
        labels can judge it. Where the outputs are near enough to predict that the bound holds, they are the more exact
        judge, and `lost` alone is enough.
        """
        return self.lost if self.is_predicted else self.lost + Z * self.chance

    def __str__(self) -> str:
        chance = f" with a standard error of {self.chance:.2f}" if self.chance else ""
        return f"{self.lost:.2f} {'points' if self.limit == 'max-drop' else '%'}{chance}"


@dataclass(frozen=True)
class ValidationSet:
    """Held-out examples with labels.

    kinds:     of the outputs.
    originals: the scores of the original network's labelled outputs, example by example.
    """

    held_out: Examples
    kinds: tuple[OutputKind, ...]
    originals: tuple[ExampleScores, ...]

    @classmethod
    def of(cls, model: Model, held_out: Examples) -> ValidationSet:
        """The held-out examples, with the scores of the network as it is."""
        outputs = compute_outputs(model, held_out)
        kinds = label_outputs(model, held_out, outputs)
        return cls(held_out, kinds, _score_examples(outputs, kinds))

    @cached_property
    def scores(self) -> tuple[OutputScore, ...]:
        """The scores of the original network."""
        return tuple(one.compare(one) for one in self.originals)

    def score(self, model: Model) -> tuple[OutputScore, ...]:
        """The scores of a network. A loss is infinite if the output contains a NaN or an infinity."""
        found = _score_examples(compute_outputs(model, self.held_out), self.kinds)
        return tuple(one.compare(original) for one, original in zip(found, self.originals, strict=True))

    def drop(self, one: Scored) -> float:
        """Points of accuracy that the worst output loses. If all outputs predict values: the percentage by which the
        loss rises.
        """
        pairs = list(zip(self.scores, one.scores, strict=True))
        drops = [a.accuracy - b.accuracy for a, b in pairs if a.accuracy is not None and b.accuracy is not None]
        return max(drops or [percent_rise(b.loss, a.loss) for a, b in pairs])

    def losses(self, one: Scored, budget: AccuracyBudget) -> list[Lost]:
        """What each output loses, for each bound on accuracy and on loss."""
        found = []
        for before, now in zip(self.scores, one.scores, strict=True):
            if budget.drop is not None and before.accuracy is not None and now.accuracy is not None:
                lost, errors = before.accuracy - now.accuracy, 100 - before.accuracy
                found.append(Lost(lost, budget.drop, errors, "max-drop", now.drop_error, one.is_predicted))
            if budget.loss is not None:
                rise = percent_rise(now.loss, before.loss)
                found.append(Lost(rise, budget.loss, 100.0, "max-loss", now.rise_error, one.is_predicted))
        return found

    def allows(self, one: Scored, budget: AccuracyBudget) -> bool:
        """Whether all bounds hold."""
        return not self.find_broken(one, budget)

    def find_broken(self, one: Scored, budget: AccuracyBudget) -> str:
        """The option that sets the first bound that does not hold; "" if all hold."""
        if budget.bytes is not None and not one.bytes <= budget.bytes:
            return "size"
        return next((each.limit for each in self.losses(one, budget) if not each.value <= each.bound), "")


def limit_held_out(
    model: Model, held_out: Examples, least: int, seconds: float, log: Callable[[str], None]
) -> Examples:
    """The examples, spread evenly, that the network answers in the fraction MEASURED of the time limit.

    least:   the number of examples that are measured in any case.
    seconds: the time limit.
    """
    if seconds == float("inf") or held_out.count <= least:
        return held_out
    few = held_out.take(np.arange(FEW))
    compute_outputs(model, few)  # the first call compiles the network
    started = time.monotonic()
    compute_outputs(model, few)
    pace = (time.monotonic() - started) / FEW
    most = int(max(least, MEASURED * seconds / pace))
    if most >= held_out.count:
        return held_out
    log(f"{most:,} of these are measured, for more do not fit into the time limit")
    return held_out.take(spread_evenly(np.arange(held_out.count), most))


def label_outputs(model: Model, examples: Examples, outputs: tuple[Outputs, ...]) -> tuple[OutputKind, ...]:
    """The kinds of a network's outputs, with the labels. Raises: RecipeError if there are none."""
    if not examples.is_labelled:
        raise RecipeError(f"{model.name}: expected labels to train and to judge by, got none")
    names, tasks = [each[0] for each in model_outputs(model)], predicted_tasks(model)
    return output_kinds(outputs, examples.labels, examples.count, names=names, tasks=tasks)


def _score_examples(outputs: tuple[Outputs, ...], kinds: tuple[OutputKind, ...]) -> tuple[ExampleScores, ...]:
    """The scores of the outputs that have labels."""
    found = zip(outputs, kinds, strict=True)
    return tuple(_score_output(output, kind, kind.truth) for output, kind in found if kind.truth is not None)


def _score_output(output: Outputs, kind: OutputKind, truth: Truth) -> ExampleScores:
    if not np.isfinite(output).all():
        return ExampleScores(None if kind.values else np.zeros(len(output)), np.full(len(output), np.inf))
    hits, losses = find_hits_and_losses(output, truth, slice(None), probabilities=kind.probabilities)
    return ExampleScores(None if hits is None else _mean_of_examples(hits), _mean_of_examples(losses))


def _mean_of_examples(values: Outputs | npt.NDArray[np.bool_]) -> Outputs:
    """The mean of each example, float64[n]."""
    means: Outputs = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return means
