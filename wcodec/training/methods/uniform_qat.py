"""Quantised distillation (Polino, Pascanu and Alistarh 2018): the network that is trained has rounded weights.

The weights are integers of a few bits times a step; latents in full precision gather the gradients of the rounded ones,
while the network is asked for the answers of the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wcodec.codec.quantizers.affine import compute_row_steps
from wcodec.container.dtypes import round_step
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.model import StepWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, constant, nonzero_mask

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable


@dataclass(frozen=True)
class UniformIntegers:
    """A kernel of integers from -(2^(bits - 1) - 1) to 2^(bits - 1) - 1; the step follows the largest latent."""

    latent: Adam
    mask: Variable
    step: Variable
    bits: int
    per_tensor_rate: bool = False

    def value(self, tf: ModuleType) -> Tensor:
        most = float((1 << self.bits - 1) - 1)
        return tf.clip_by_value(tf.round(self.latent.values / self.step), -most, most) * self.step * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        return gradient * self.mask

    def update(self, done: float) -> None:
        self.step.assign(_step_of(self.latent.values.numpy(), self.bits))

    def export(self) -> TunedTensor:
        self.update(1.0)
        return StepWeights(self.value(tensorflow()).numpy(), float(self.step.numpy()))


def start_uniform(values: Float32, bits: int) -> Parametrization:
    """Begin from these values."""
    return UniformIntegers(Adam.start(values), nonzero_mask(values), constant(_step_of(values, bits)), bits)


def _step_of(values: Float32, bits: int) -> Float32:
    """The step by which the largest value is the largest integer, with the eight mantissa bits of a file."""
    return np.asarray(round_step(float(compute_row_steps(values.reshape(1, -1), "symmetric", bits)[0])), np.float32)
