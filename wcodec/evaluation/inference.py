"""A network's outputs, computed batch by batch, reproducibly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array, Examples
from wcodec.evaluation.metrics import Outputs
from wcodec.evaluation.runner import Network, as_runner, is_runner

if TYPE_CHECKING:
    pass


BATCH: Final = 64
"""The batch size. It is constant, because another one would change the rounding of the outputs."""


def batches(count: int) -> Iterator[slice]:
    """The examples 0..count in steps of BATCH."""
    return (slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def predict(model: Network, examples: Examples, at: slice) -> tuple[Outputs, ...]:
    """The outputs for the examples `at`: one float64[examples, ..., units] for each output of the network.

    Networks of other frameworks than Keras may have their units along the second axis, see `put_units_last`. A short
    last batch is padded with its last example, so that one compiled function is used for all.
    Raises: RecipeError if the network does not accept the examples.
    """
    rows = np.minimum(np.arange(at.start, at.start + min(BATCH, examples.count)), at.stop - 1)
    try:
        outputs = as_runner(model).predict(tuple(array[rows] for array in examples.inputs))
    except Exception as exc:
        words = " ".join(str(exc).split())[:200]
        raise RecipeError(f"{model.name}: expected to take the examples, got {type(exc).__name__}: {words}") from exc
    found = [_add_unit_axis(np.asarray(output, np.float64)[: at.stop - at.start]) for output in outputs]
    if not is_runner(model):
        return tuple(found)
    labels = (*examples.labels, *[None] * len(found))
    return tuple(put_units_last(*both) for both in zip(found, labels, strict=False))


def put_units_last(outputs: Outputs, labels: Array | None) -> Outputs:
    """Outputs [examples, units, height, width] as [examples, height, width, units], as far as it can be seen.

    The labels show it, if there are any: class numbers have the outputs' shape without the axis of the units. Without
    labels, images of more columns than channels are taken to have their channels first.
    """
    if outputs.ndim < 3 or (labels is None and outputs.ndim < 4):
        return outputs
    first = outputs.shape[1] < outputs.shape[-1]
    if labels is not None:
        shape = labels.shape[1:]
        first = shape not in (outputs.shape[1:-1], outputs.shape[1:]) and shape == outputs.shape[2:]
    return np.moveaxis(outputs, 1, -1) if first else outputs


def _add_unit_axis(outputs: Outputs) -> Outputs:
    return outputs[:, None] if outputs.ndim == 1 else outputs


def compute_outputs(model: Network, examples: Examples) -> tuple[Outputs, ...]:
    """All outputs for all examples."""
    found = [predict(model, examples, at) for at in batches(examples.count)]
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def count_predictions(outputs: Sequence[Outputs]) -> int:
    """The predictions for one example in the output that has the fewest: several of sequences and maps."""
    return min((max(1, math.prod(one.shape[1:-1])) for one in outputs), default=1)
