"""How far a network's answers have moved from the original's, without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.learning.examples import Examples
from wcodec.learning.predict import batches, predict
from wcodec.learning.scores import Outputs, are_probabilities, log_probabilities

if TYPE_CHECKING:
    from keras import Model

POINTS: Final = 0.42
"""Points of accuracy that 0.01 nats of divergence cost, on nine networks, +-40 % on one run; see `Verdict.drop`."""


def outputs_of(model: Model, examples: Examples) -> tuple[Outputs, ...]:
    """All outputs for all examples."""
    found = [predict(model, examples, at) for at in batches(examples.count)]
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def divergence(outputs: tuple[Outputs, ...], originals: tuple[Outputs, ...]) -> float:
    """Mean sum p log(p / q) in nats over the rows of the worst output; of values, the mean squared error / variance.

    An output is of probabilities, or of logits where it has two units or more; one unit that leaves 0..1 is a value.
    """
    return max(_diverged(y, y0) for y, y0 in zip(outputs, originals, strict=True))


def _diverged(outputs: Outputs, originals: Outputs) -> float:
    probabilities = are_probabilities(originals)
    if not np.isfinite(outputs).all():
        return float("inf")
    if originals.shape[-1] == 1 and not probabilities:
        return float(np.square(outputs - originals).mean() / max(float(originals.var()), 1e-30))
    log_p = log_probabilities(originals, probabilities=probabilities)
    log_q = log_probabilities(outputs, probabilities=probabilities)
    return float((np.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean())
