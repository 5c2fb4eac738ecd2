"""Magnitude pruning during training: small weights are held at zero while the others are trained.

Han, Pool, Tran and Dally 2015: prune below a threshold, retrain, repeat; a pruned weight stays zero. Zhu and Gupta
2017: the sparsity rises gradually, and a pruned weight keeps its latent, so that it may return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wcodec.codec.magnitude_pruning import prune_weights
from wcodec.model import FloatWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, constant
from wcodec.training.methods.sparsity_schedules import Schedule

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable

Criterion = Literal["magnitude", "obd"]


@dataclass(frozen=True)
class MaskedPruning:
    """A kernel with a mask.

    forget:    whether pruned weights stay zero.
    criterion: which weights are pruned first: those of small magnitude, or of small w^2 F / 2 (optimal brain damage, Le
               Cun, Denker and Solla 1990). The Fisher diagonal F is the running mean square of the gradients, which
               Adam keeps.
    """

    latent: Adam
    mask: Variable
    schedule: Schedule
    forget: bool
    criterion: Criterion = "magnitude"
    per_tensor_rate: bool = False

    def value(self, tf: ModuleType) -> Tensor:
        return self.latent.values * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        return gradient * self.mask

    def update(self, done: float) -> None:
        values = self.latent.values.numpy()
        kept = prune_weights(self._compute_scores(values), self.schedule(done)) != 0
        self.mask.assign(kept.astype(np.float32))
        if self.forget:
            self.latent.values.assign(np.where(kept, values, np.float32(0)))

    def _compute_scores(self, values: Float32) -> Float32:
        """The values that decide what is pruned, smallest first: magnitudes, or sqrt(w^2 F) once F is known."""
        if self.criterion == "magnitude" or not self.latent.count.numpy():
            return values
        scores = np.abs(values) * np.sqrt(self.latent.mean_square.numpy())
        return np.where(values != 0, np.maximum(scores, np.finfo(np.float32).tiny), np.float32(0)).astype(np.float32)

    def export(self) -> TunedTensor:
        self.update(1.0)
        return FloatWeights(self.latent.values.numpy() * self.mask.numpy())


def start_pruning(
    values: Float32, schedule: Schedule, *, forget: bool, criterion: Criterion = "magnitude"
) -> Parametrization:
    """A parametrization that starts from these values."""
    return MaskedPruning(Adam.start(values), constant(np.ones_like(values)), schedule, forget, criterion)
