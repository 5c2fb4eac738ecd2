"""Pruning in training: weights of small magnitude are held at zero while the others learn to do without them.

Han, Pool, Tran and Dally 2015: prune below a threshold, retrain, repeat; what is pruned is gone. Zhu and Gupta 2017:
the sparsity rises gradually, and a weight that is pruned keeps its latent, so that another ranking may bring it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wcodec.codec.magnitude_pruning import prune_weights
from wcodec.model import FloatWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, constant
from wcodec.training.methods.sparsity_schedules import Schedule

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable


@dataclass(frozen=True)
class MagnitudePruning:
    """A kernel under a mask. forget: what is pruned is gone."""

    latent: Adam
    mask: Variable
    schedule: Schedule
    forget: bool
    per_tensor_rate: bool = False

    def value(self, tf: ModuleType) -> Tensor:
        return self.latent.values * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        return gradient * self.mask

    def update(self, done: float) -> None:
        values = self.latent.values.numpy()
        kept = prune_weights(values, self.schedule(done))
        self.mask.assign((kept != 0).astype(np.float32))
        if self.forget:
            self.latent.values.assign(kept)

    def export(self) -> TunedTensor:
        self.update(1.0)
        return FloatWeights(self.latent.values.numpy() * self.mask.numpy())


def start_pruning(values: Float32, schedule: Schedule, *, forget: bool) -> Parametrization:
    """Begin from these values."""
    return MagnitudePruning(Adam.start(values), constant(np.ones_like(values)), schedule, forget)
