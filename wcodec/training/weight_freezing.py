"""Freezing of weights that oscillate between two levels (Nagel et al. 2022).

A rate term draws latents to the boundary of two levels, where they change with every batch, however small the learning
rate is: half of the non-zero weights of a small network do so, and its error moves with them. They are frozen one part
after another, the surest first, and the others learn to do without the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.training.flat_adam import Float32, flatten
from wcodec.training.uniform_group import UniformGroup

OSCILLATING: Final = 0.02
"""A weight oscillates if its mean level is farther than this from an integer."""
LEAST: Final = 4
"""The smallest number of samples of which the mean is taken."""


@dataclass
class WeightFreezing:
    """The kernels of a group that may be frozen, and the sum of their levels since the last freezing.

    free: flat booleans, one for each latent: those of kernels that are not frozen yet.
    """

    group: UniformGroup
    free: npt.NDArray[np.bool_] = field(init=False)
    sums: Float32 = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        kernels = zip(self.group.weights, self.group.are_kernels, strict=True)
        self.free = flatten([np.full(weight.shape, kernel, np.float32) for weight, kernel in kernels]) > 0
        self.sums = np.zeros(self.free.shape, np.float32)

    def sample(self) -> None:
        """Add the current levels to the mean."""
        self.sums += np.rint(self.group.latents.values.numpy())
        self.count += 1

    def freeze(self, parts: int) -> None:
        """Freeze one of `parts` of the oscillating weights, each at the level nearest to its mean.

        Without LEAST samples nothing is frozen.
        """
        if self.count < LEAST:
            return
        mean = self.sums / self.count
        self.sums, self.count = np.zeros_like(self.sums), 0
        distance = np.abs(mean - np.rint(mean))
        oscillating = np.flatnonzero(self.free & (distance > OSCILLATING))
        chosen = oscillating[np.argsort(distance[oscillating], kind="stable")][: -(-len(oscillating) // max(1, parts))]
        self.free[chosen] = False
        latents, factors = self.group.latents.values.numpy(), self.group.factors.numpy()
        latents[chosen], factors[chosen] = np.rint(mean[chosen]), 0.0
        self.group.latents.values.assign(latents)
        self.group.factors.assign(factors)
