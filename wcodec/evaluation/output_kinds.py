"""The kind of each output of a network, classes or values: by its labels, its numbers and its compiled loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wcodec.evaluation.examples import Labels
from wcodec.evaluation.metrics import Outputs, Truth, are_probabilities, read_labels

FEW_VALUES: Final = 3
"""An unlabelled output of a network with several outputs gets a loss of values if it has at most this many units."""


@dataclass(frozen=True)
class OutputKind:
    """The kind of one output of a network.

    probabilities: whether it is of probabilities; it is of logits if this and `values` are False.
    values:        whether it predicts values, not classes.
    truth:         its labels; None without.
    """

    name: str
    probabilities: bool
    values: bool
    truth: Truth | None = None


def output_kinds(
    outputs: Sequence[Outputs],
    labels: Labels,
    count: int,
    *,
    names: Sequence[str] = (),
    predicts_values: bool = False,
) -> tuple[OutputKind, ...]:
    """The kind of each output.

    outputs:         of the original network for the first examples, or for all.
    labels, count:   of all examples.
    names:           of the outputs; numbers if they are unknown.
    predicts_values: see `model.Model`.
    Raises: RecipeError if labels do not fit.
    """
    found = []
    for number, output in enumerate(outputs):
        given = labels[number] if number < len(labels) else None
        truth = None if given is None else read_labels(given, (count, *output.shape[1:]), output)
        name = names[number] if number < len(names) else f"output {number}"
        probabilities, few = are_probabilities(output), output.shape[-1] <= FEW_VALUES
        if truth is not None:
            values = truth.task == "values"
        elif output.shape[-1] == 1:
            values = not probabilities or (predicts_values and len(outputs) == 1)
        else:
            values = not probabilities and predicts_values and (len(outputs) == 1 or few)
        found.append(OutputKind(name, probabilities and not values, values, truth))
    return tuple(found)
