"""Parametrizations: how trained variables (latents) outside of the network become the weights of the network.

The network has values as the file will contain them. The gradient with respect to these values updates the latents
(straight-through estimator, Bengio et al. 2013, if the values are rounded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wcodec.container.dtypes import round_mantissa
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.model import FloatWeights, TableWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable


class Parametrization(Protocol):
    """The parametrization of one weight. `value` and `latent_gradient` run in a graph; `update` and `export` do not."""

    @property
    def latent(self) -> Adam:
        """The trained values and their moments."""

    @property
    def per_tensor_rate(self) -> bool:
        """Whether the whole tensor has one learning rate, which keeps the proportions of its gradients."""

    def value(self, tf: ModuleType) -> Tensor:
        """The weights that the network uses."""

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        """The gradient with respect to the latents, from the gradient with respect to the weights."""

    def update(self, done: float) -> None:
        """Called at intervals with the fraction of the training that is done, 0 to 1."""

    def export(self) -> TunedTensor:
        """The tensor to encode."""


@dataclass(frozen=True)
class FloatParametrization:
    """A weight without quantization, such as a bias or a gain. It is encoded with eight bits of mantissa."""

    latent: Adam
    per_tensor_rate: bool = False

    def value(self, tf: ModuleType) -> Tensor:
        return self.latent.values

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        return gradient

    def update(self, done: float) -> None:
        pass

    def export(self) -> TunedTensor:
        values = round_mantissa(self.latent.values.numpy())
        # A float tensor of two dimensions (biases of a GRU) would be quantized again, as kernels are.
        return TableWeights(values) if values.ndim > 1 else FloatWeights(values)


def start_float(values: Float32) -> Parametrization:
    """A parametrization that starts from these values."""
    return FloatParametrization(Adam.start(values))


def constant(values: Float32) -> Variable:
    """A variable that is used in a graph and not trained."""
    return tensorflow().Variable(np.asarray(values, np.float32), trainable=False)


def nonzero_mask(values: Float32) -> Variable:
    """float32 1.0 where a weight is not 0.0, so that pruned weights stay zero."""
    return constant((values != 0).astype(np.float32))
