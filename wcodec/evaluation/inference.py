"""A network's outputs, computed batch by batch, reproducibly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.metrics import Outputs
from wcodec.evaluation.runner import Network, as_runner

if TYPE_CHECKING:
    pass


BATCH: Final = 64
"""The batch size. It is constant, because another one would change the rounding of the outputs."""


def batches(count: int) -> Iterator[slice]:
    """The examples 0..count in steps of BATCH."""
    return (slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def predict(model: Network, examples: Examples, at: slice) -> tuple[Outputs, ...]:
    """The outputs for the examples `at`: one float64[examples, ..., units] for each output of the network.

    A short last batch is padded with its last example, so that one compiled function is used for all.
    Raises: RecipeError if the network does not accept the examples.
    """
    rows = np.minimum(np.arange(at.start, at.start + min(BATCH, examples.count)), at.stop - 1)
    try:
        outputs = as_runner(model).predict(tuple(array[rows] for array in examples.inputs))
    except Exception as exc:
        words = " ".join(str(exc).split())[:200]
        raise RecipeError(f"{model.name}: expected to take the examples, got {type(exc).__name__}: {words}") from exc
    return tuple(_with_units(np.asarray(output, np.float64)[: at.stop - at.start]) for output in outputs)


def _with_units(outputs: Outputs) -> Outputs:
    return outputs[:, None] if outputs.ndim == 1 else outputs


def compute_outputs(model: Network, examples: Examples) -> tuple[Outputs, ...]:
    """All outputs for all examples."""
    found = [predict(model, examples, at) for at in batches(examples.count)]
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
