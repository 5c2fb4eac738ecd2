"""Quantised distillation (Polino, Pascanu and Alistarh 2018): the network in training has rounded weights.

The weights are integers of a few bits times the step of their group. Latents in full precision accumulate the gradients
of the rounded weights, and the outputs of the original network are targets. With a learned range (Esser et al. 2020;
NNCF) the steps follow their own gradient; without it they minimise the squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wcodec.container.dtypes import round_step
from wcodec.model import GroupWeights, StepWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, constant, nonzero_mask
from wcodec.training.methods.weight_groups import Range, WeightGroups, fit_step, integer_range, make_groups

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable


@dataclass(frozen=True)
class UniformQuantization:
    """Settings for the choice of the integers.

    bits:        2^bits integers for each kernel, or for each group.
    group:       the number of weights of an output that share a step; None: see `per_channel`.
    per_channel: one step for each output; otherwise one for the kernel.
    learn_range: whether the steps are trained.
    """

    bits: int
    how: Range = "symmetric"
    group: int | None = None
    per_channel: bool = False
    learn_range: bool = False


@dataclass(frozen=True)
class UniformIntegers:
    """A kernel of integers times steps.

    latent:    the weights, followed by the logarithm of each step divided by its initial value if the range is learned.
    steps:     float32[groups].
    low, high: float32[kernel shape], the range of the integers.
    """

    latent: Adam
    mask: Variable
    groups: WeightGroups
    steps: Variable
    low: Variable
    high: Variable
    asked: UniformQuantization
    per_tensor_rate: bool = False

    def _split_latent(self, tf: ModuleType) -> tuple[Tensor, Tensor]:
        """The latent weights, and the step of each."""
        count = int(np.prod(self.groups.shape))
        steps = self.steps
        if self.asked.learn_range:
            steps = steps * tf.exp(self.latent.values[count:])
        weights = tf.reshape(self.latent.values[:count], self.groups.shape)
        return weights, tf.gather(steps, self.groups.places)

    def value(self, tf: ModuleType) -> Tensor:
        weights, steps = self._split_latent(tf)
        return tf.clip_by_value(tf.round(weights / steps), self.low, self.high) * steps * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        gradient = gradient * self.mask
        if not self.asked.learn_range:
            return tf.reshape(gradient, [-1])
        weights, steps = self._split_latent(tf)
        ratio = weights / steps
        inside = (ratio >= self.low) & (ratio <= self.high)
        integers = tf.clip_by_value(tf.round(ratio), self.low, self.high)
        of_steps = gradient * steps * (integers - tf.where(inside, ratio, 0.0))
        sums = tf.math.unsorted_segment_sum(
            tf.reshape(of_steps, [-1]), self.groups.places.reshape(-1), self.groups.count
        )
        return tf.concat([tf.reshape(tf.where(inside, gradient, 0.0), [-1]), sums], 0)

    def update(self, done: float) -> None:
        if not self.asked.learn_range:
            self._fit()

    def _fit(self) -> None:
        """Compute steps and ranges from the current weights."""
        values = self.latent.values.numpy()[: self.groups.places.size]
        parts = self.groups.split(values * self.mask.numpy().reshape(-1))
        steps = [fit_step(part, self.asked.bits, self.asked.how) for part in parts]
        ends = [
            integer_range(self.asked.bits, self.asked.how, part, step) for part, step in zip(parts, steps, strict=True)
        ]
        self.steps.assign(np.array(steps, np.float32))
        low, high = np.array(ends, np.float32).T
        self.low.assign(low[self.groups.places])
        self.high.assign(high[self.groups.places])

    def export(self) -> TunedTensor:
        self.update(1.0)
        values = self.latent.values.numpy()
        count = self.groups.places.size
        steps = self.steps.numpy() * (np.exp(values[count:]) if self.asked.learn_range else np.float32(1))
        steps = np.array([round_step(float(step)) for step in steps], np.float32)
        own = steps[self.groups.places]
        integers = np.clip(np.rint(values[:count].reshape(own.shape) / own), self.low.numpy(), self.high.numpy())
        integers = integers * self.mask.numpy()
        if self.groups.is_whole:
            return StepWeights((integers * own).astype(np.float32), float(steps[0]))
        points = np.arange(self.low.numpy().min(), self.high.numpy().max() + 1).astype(np.float32)
        weights = integers.astype(np.float32) * own
        return GroupWeights(weights, points, self.groups.by_rows(steps), self.groups.size)


def start_uniform(values: Float32, asked: UniformQuantization) -> Parametrization:
    """A parametrization that starts from these values."""
    groups = make_groups(values.shape, asked.group, asked.per_channel)
    latent = values.reshape(-1)
    if asked.learn_range:
        latent = np.concatenate([latent, np.zeros(groups.count, np.float32)])
    ends = constant(np.zeros_like(values)), constant(np.zeros_like(values))
    steps = constant(np.ones(groups.count, np.float32))
    begun = UniformIntegers(Adam.start(latent), nonzero_mask(values), groups, steps, *ends, asked)
    begun._fit()
    return begun
