"""A network as a file will have it: levels and steps, settled statistics; and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.batch_norm import reestimate
from wcodec.calibration.quantizable_weights import estimate_bytes
from wcodec.container.dtypes import round_mantissa, round_step
from wcodec.evaluation.examples import Batches, Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import read_values
from wcodec.evaluation.metrics import Outputs, Truth, hits_and_loss
from wcodec.evaluation.output_kinds import OutputKind
from wcodec.model import FloatWeights, StepWeights, TunedTensor
from wcodec.training.flat_adam import Float32
from wcodec.training.qat_state import QatState, assign_rounded

if TYPE_CHECKING:
    from keras import Layer, Model
    from keras import Variable as Weight


Levels = npt.NDArray[np.int32]

FINE: Final = 16.0
"""Steps of a moving mean that a standard deviation has, at the median."""
VARIANCE_BITS: Final = 3
"""Bits of mantissa that a moving variance keeps."""


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight: step * levels. index: its place in `model.weights`."""

    index: int
    levels: Levels
    step: float

    @property
    def weights(self) -> Float32:
        """The values."""
        return self.levels * np.float32(self.step)


@dataclass(frozen=True)
class Score:
    """Of one labelled output. accuracy: percent, or None for values; loss: nats, or the squared error."""

    accuracy: float | None
    loss: float


@dataclass(frozen=True)
class Candidate:
    """Everything that training changed, and the score of the network on held-out examples.

    others: weights that are not rounded to levels, by their place in `model.weights`.
    bytes:  of its weights, estimated.
    scores: of the outputs that have labels.
    """

    rounded: tuple[QuantizedTensor, ...]
    others: tuple[tuple[int, Float32], ...]
    bytes: int
    scores: tuple[Score, ...]


def snapshot_and_score(
    state: QatState,
    normalizing: Batches | None,
    held_out: Examples,
    kinds: tuple[OutputKind, ...],
    *,
    averaged: bool = False,
) -> Candidate:
    """The network as it is now; its rounded weights are put into it.

    normalizing: take the statistics of BatchNormalization anew from these; None leaves them.
    averaged:    see `UniformGroup.latent_values`.
    """
    pairs = assign_rounded(state, averaged=averaged)
    if normalizing is not None and state.batch_norms:
        update_statistics(state, normalizing)
    kept = [QuantizedTensor(index, *pair) for index, pair in zip(state.indices, pairs, strict=True)]
    places = {id(weight): index for index, weight in enumerate(state.model.weights)}
    others = []
    for layer in state.batch_norms:
        step = mean_step(layer)
        levels = np.rint(read_values(layer.moving_mean) / np.float32(step)).astype(np.int32)
        kept.append(QuantizedTensor(places[id(layer.moving_mean)], levels, step))
        others.append((places[id(layer.moving_variance)], read_values(layer.moving_variance)))
    scores = score(state.model, held_out, kinds)
    size = sum(estimate_bytes(one.levels) for one in kept) + sum(values.size for _, values in others)
    return Candidate(tuple(kept), tuple(others), size, scores)


def score(model: Model, examples: Examples, kinds: tuple[OutputKind, ...]) -> tuple[Score, ...]:
    """The scores of the outputs that have labels; an infinite loss where one is not a number."""
    found = zip(compute_outputs(model, examples), kinds, strict=True)
    return tuple(_score_output(output, kind, kind.truth) for output, kind in found if kind.truth is not None)


def _score_output(output: Outputs, kind: OutputKind, truth: Truth) -> Score:
    if not np.isfinite(output).all():
        return Score(None if kind.values else 0.0, float("inf"))
    hits, loss = hits_and_loss(output, truth, slice(None), probabilities=kind.probabilities)
    return Score(None if hits is None else 100 * hits, loss)


def assign_weights(model: Model, net: Candidate) -> None:
    """Give the network these weights."""
    for one in net.rounded:
        model.weights[one.index].assign(one.weights)
    for index, values in net.others:
        model.weights[index].assign(values)


def tuned_weights(net: Candidate) -> dict[int, TunedTensor]:
    """What to code, by place in `model.weights`."""
    found: dict[int, TunedTensor] = {one.index: StepWeights(one.weights, one.step) for one in net.rounded}
    return found | {index: FloatWeights(values) for index, values in net.others}


def moving(state: QatState) -> list[Weight]:
    """The statistics of BatchNormalization."""
    return [weight for layer in state.batch_norms for weight in (layer.moving_mean, layer.moving_variance)]


def get_statistics(state: QatState) -> tuple[Float32, ...]:
    """The values of `moving`. Inverse: `put_statistics`."""
    return tuple(read_values(weight) for weight in moving(state))


def set_statistics(state: QatState, values: Sequence[Float32]) -> None:
    """Inverse: `statistics_of`; without values nothing changes."""
    for weight, array in zip(moving(state), values, strict=False):
        weight.assign(array)


def update_statistics(state: QatState, batches: Batches) -> None:
    """Take the statistics of BatchNormalization anew, with the weights in the network, and make them short.

    A mean is a multiple of a part of the deviations, a variance keeps few bits: training goes on with them.
    """
    reestimate(state.model, list(state.batch_norms), batches)
    for layer in state.batch_norms:
        layer.moving_variance.assign(round_mantissa(read_values(layer.moving_variance), VARIANCE_BITS))
        step = np.float32(mean_step(layer))
        layer.moving_mean.assign(np.rint(read_values(layer.moving_mean) / step) * step)


def mean_step(layer: Layer) -> float:
    """The step of a moving mean, from the settled variance."""
    return round_step(float(np.sqrt(np.median(read_values(layer.moving_variance)) + layer.epsilon)) / FINE)
