"""What stands behind a weight while it is trained: latents outside the network, and what they show to it.

The network sees values of the kind that a file will have; the gradient for them moves what is behind them
(straight-through, Bengio et al. 2013, where the values are rounded).
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
    """One weight's. `value` and `latent_gradient` are for graphs; `update` and `export` are not.

    together: whether one rate of learning serves the whole tensor (gradients keep their proportions), or one a value.
    """

    @property
    def latent(self) -> Adam:
        """What is learned, with its moments."""

    @property
    def per_tensor_rate(self) -> bool:
        """See above."""

    def value(self, tf: ModuleType) -> Tensor:
        """The values that the network gets."""

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        """From the gradient for these values to the one for the latents."""

    def update(self, done: float) -> None:
        """Told now and then how much of the training is over, 0 to 1."""

    def export(self) -> TunedTensor:
        """What is coded."""


@dataclass(frozen=True)
class FloatParametrization:
    """A weight as it is: biases and gains. It is coded with eight bits of mantissa."""

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
        # What has two dimensions (biases of a GRU) would be rounded again, as kernels are.
        return TableWeights(values) if values.ndim > 1 else FloatWeights(values)


def start_float(values: Float32) -> Parametrization:
    """Begin from these values."""
    return FloatParametrization(Adam.start(values))


def constant(values: Float32) -> Variable:
    """What a graph reads and training does not move."""
    return tensorflow().Variable(np.asarray(values, np.float32), trainable=False)


def nonzero_mask(values: Float32) -> Variable:
    """1.0 where a weight is not 0.0: what an earlier training pruned stays pruned."""
    return constant((values != 0).astype(np.float32))
