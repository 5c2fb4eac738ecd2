"""A network as the file will contain it (levels, steps, rounded BatchNormalization statistics), with its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.batch_norm import reestimate
from wcodec.calibration.quantizable_weights import estimate_bytes
from wcodec.container.dtypes import round_mantissa, round_step
from wcodec.evaluation.examples import Batches
from wcodec.evaluation.keras_backend import read_values
from wcodec.model import FloatWeights, StepWeights, TunedTensor
from wcodec.training.flat_adam import Float32
from wcodec.training.qat_state import QatState, assign_rounded
from wcodec.training.validation import OutputScore, ValidationSet

if TYPE_CHECKING:
    from keras import Layer, Model
    from keras import Variable as Weight


Levels = npt.NDArray[np.int32]

FINE: Final = 16.0
"""The median standard deviation of a layer, in steps of its moving mean."""
VARIANCE_BITS: Final = 3
"""Bits of mantissa of a stored moving variance."""


@dataclass(frozen=True)
class QuantizedTensor:
    """A quantized weight: step * levels. index: the position of the weight in `model.weights`."""

    index: int
    levels: Levels
    step: float

    @property
    def weights(self) -> Float32:
        """The dequantized values."""
        return self.levels * np.float32(self.step)


@dataclass(frozen=True)
class Candidate:
    """All weights that training changed, and the scores of the network on held-out examples.

    others: weights that are not rounded to levels, each with its position in `model.weights`.
    bytes:  the estimated size of the weights.
    scores: one for each output that has labels.
    is_predicted: whether its outputs, compared with the original's, predict that it is within the budget, see `Lost`.
    """

    rounded: tuple[QuantizedTensor, ...]
    others: tuple[tuple[int, Float32], ...]
    bytes: int
    scores: tuple[OutputScore, ...]
    is_predicted: bool = False


def snapshot_and_score(
    state: QatState, normalizing: Batches | None, validation: ValidationSet, *, averaged: bool = False
) -> Candidate:
    """The current network and its scores. The rounded weights are assigned to the network.

    normalizing: inputs from which the statistics of BatchNormalization are computed again; None leaves them.
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
    size = sum(estimate_bytes(one.levels) for one in kept) + sum(values.size for _, values in others)
    return Candidate(tuple(kept), tuple(others), size, validation.score(state.model))


def assign_weights(model: Model, net: Candidate) -> None:
    """Assign the weights of a candidate to the network."""
    for one in net.rounded:
        model.weights[one.index].assign(one.weights)
    for index, values in net.others:
        model.weights[index].assign(values)


def tuned_weights(net: Candidate) -> dict[int, TunedTensor]:
    """The weights to encode, by position in `model.weights`."""
    found: dict[int, TunedTensor] = {one.index: StepWeights(one.weights, one.step) for one in net.rounded}
    return found | {index: FloatWeights(values) for index, values in net.others}


def statistics_variables(state: QatState) -> list[Weight]:
    """The variables of the BatchNormalization statistics: moving mean and variance of each layer."""
    return [weight for layer in state.batch_norms for weight in (layer.moving_mean, layer.moving_variance)]


def get_statistics(state: QatState) -> tuple[Float32, ...]:
    """The values of `statistics_variables`. Inverse: `set_statistics`."""
    return tuple(read_values(weight) for weight in statistics_variables(state))


def set_statistics(state: QatState, values: Sequence[Float32]) -> None:
    """Assign the BatchNormalization statistics; an empty sequence changes nothing. Inverse: `get_statistics`."""
    for weight, array in zip(statistics_variables(state), values, strict=False):
        weight.assign(array)


def update_statistics(state: QatState, batches: Batches) -> None:
    """Compute the statistics of BatchNormalization again with the current weights, and round them.

    A mean becomes a multiple of `mean_step`, and a variance keeps VARIANCE_BITS bits of mantissa. Training continues
    with the rounded statistics.
    """
    reestimate(state.model, list(state.batch_norms), batches)
    for layer in state.batch_norms:
        layer.moving_variance.assign(round_mantissa(read_values(layer.moving_variance), VARIANCE_BITS))
        step = np.float32(mean_step(layer))
        layer.moving_mean.assign(np.rint(read_values(layer.moving_mean) / step) * step)


def mean_step(layer: Layer) -> float:
    """The quantization step of a moving mean, computed from the rounded variance."""
    return round_step(float(np.sqrt(np.median(read_values(layer.moving_variance)) + layer.epsilon)) / FINE)
