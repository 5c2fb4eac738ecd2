"""Uniformly quantized weights: integers times a step for each tensor. Latents and steps are trained, with a rate term.

Levels are the rounded latents. The gradient with respect to a weight, times the step, is the gradient of its latent.
Times the level, and summed over the tensor, it is the gradient of the logarithm of the step. The rate of the levels
adds its own derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.container.dtypes import round_step
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.training.engine import flat_gradients
from wcodec.training.flat_adam import Adam, Float32, Moments, flatten, size_of, unflatten, unflatten_tensor
from wcodec.training.rate_model import rate_gradient, rate_weights

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Variable as Weight
    from tensorflow import Tensor, Variable


MEAN: Final = 100.0
"""The approximate number of steps in the running mean of the latents (Polyak and Juditsky 1992)."""


@dataclass(frozen=True)
class UniformConfig:
    """Settings for the training of levels and steps.

    sharpness:     c of the rate log2(1 + c |latent|): how fast the price of a level falls towards zero.
    rates:         the learning rates of latents, in steps, and of the logarithms of steps.
    beta2:         the decay of their second moments.
    rounded_steps: whether steps have the precision of the file from the beginning.
    """

    sharpness: float
    rates: tuple[float, float]
    beta2: tuple[float, float]
    rounded_steps: bool


@dataclass(frozen=True)
class Snapshot:
    """All trained variables as plain arrays; see `UniformGroup`."""

    latents: Moments
    steps: Moments
    average: Float32
    factors: Float32


@dataclass(frozen=True)
class UniformGroup:
    """float32 latents, flat, in the order of `weights`, and the logarithm of one step for each weight.

    are_kernels:  which of the weights have two or more dimensions.
    rate_weights: a factor on the rate of each latent.
    step_factor:  a factor on the learning rate of the steps.
    centers:      for each latent the level that costs nothing: 0 in kernels, the median in vectors.
    average:      the running mean of the latents, or None.
    factors:      a factor on the learning rate of each latent.
    """

    weights: tuple[Weight, ...]
    are_kernels: tuple[bool, ...]
    config: UniformConfig
    latents: Adam
    log_steps: Adam
    rate_weights: Variable
    step_factor: Variable
    factors: Variable
    centers: Variable | None = None
    average: Variable | None = None

    def values(self, tf: ModuleType) -> list[Tensor]:
        return [level * step for level, step in zip(self._round_latents(tf), self._compute_steps(tf), strict=True)]

    def _round_latents(self, tf: ModuleType) -> list[Tensor]:
        return unflatten_tensor(tf, tf.round(self.latents.values), self.weights)

    def _compute_steps(self, tf: ModuleType) -> list[Tensor]:
        steps = tf.exp(self.log_steps.values)
        if self.config.rounded_steps:  # the same rounding as `round_step`
            bits = tf.bitcast(steps, tf.int32)
            steps = tf.bitcast(tf.bitwise.bitwise_and(bits + 0x8000, -0x10000), tf.float32)
        found: list[Tensor] = tf.unstack(steps, len(self.weights))
        return found

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        config, latents = self.config, self.latents.values
        flat = flat_gradients(tf, gradients, self.weights)
        scaled = [gradient * step for gradient, step in zip(flat, self._compute_steps(tf), strict=True)]
        by_step = [
            tf.reduce_sum(gradient * tf.reshape(level, [-1]))
            for gradient, level in zip(scaled, self._round_latents(tf), strict=True)
        ]
        away = latents if self.centers is None else latents - self.centers
        rate = rate_gradient(tf, away, lambda_ * self.rate_weights, config.sharpness)
        if any(gradient is None for gradient in gradients):
            # A weight that no output depends on keeps its levels: no loss term would limit its change.
            used = zip(gradients, self.weights, strict=True)
            rate *= tf.concat([tf.fill([size_of(weight)], float(one is not None)) for one, weight in used], 0)
        self.latents.step(tf, tf.concat(scaled, 0) + rate, factor * config.rates[0], config.beta2[0], self.factors)
        if self.average is not None:
            self.average.assign_add((latents - self.average) / tf.minimum(self.latents.count, MEAN))
        step_rate = factor * config.rates[1] * self.step_factor
        self.log_steps.step(tf, tf.stack(by_step), step_rate, config.beta2[1])

    def reset(self, latents: Sequence[Float32], steps: Sequence[float], factors: Sequence[Float32] = ()) -> None:
        """Set latents and steps, one step for each weight."""
        self.latents.reset(flatten(latents))
        self.log_steps.reset(np.log(np.array(steps, np.float32)))
        self.step_factor.assign(1.0)
        self.factors.assign(flatten(factors) if factors else tensorflow().ones_like(self.factors))
        self.update()

    def update(self, done: float = 0.0) -> None:
        """Compute rate weights and centers from the current levels."""
        latents = unflatten(self.latents.values.numpy(), self.weights)
        found = iter(rate_weights([one for one, kernel in zip(latents, self.are_kernels, strict=True) if kernel]))
        weights = [
            next(found) if kernel else np.ones_like(one) for one, kernel in zip(latents, self.are_kernels, strict=True)
        ]
        self.rate_weights.assign(flatten(weights))
        if self.centers is not None:
            medians = [
                0.0 if kernel or not one.size else float(np.rint(np.median(one)))
                for one, kernel in zip(latents, self.are_kernels, strict=True)
            ]
            self.centers.assign(flatten([np.full_like(a, m) for a, m in zip(latents, medians, strict=True)]))

    def fix_steps(self) -> None:
        """Round the steps to the precision of the file, and stop training them. The latents stay, so the weights
        change.
        """
        self.log_steps.values.assign(np.log(self.steps()))
        self.step_factor.assign(0.0)

    def steps(self) -> list[float]:
        """The steps in the precision of the file."""
        return [round_step(float(step)) for step in np.exp(self.log_steps.values.numpy())]

    def latent_values(self, *, averaged: bool = False) -> list[Float32]:
        """Latents in the shapes of the weights.

        averaged: the running mean of the latents, an estimate of what they converge to at a lower learning rate.
        """
        mean = self.average if averaged and float(self.latents.count.numpy()) else None
        return unflatten((self.latents.values if mean is None else mean).numpy(), self.weights)

    def snapshot(self) -> Snapshot:
        """All trained variables. Inverse: `restore`."""
        average = np.zeros(0, np.float32) if self.average is None else np.array(self.average.numpy(), np.float32)
        factors = np.array(self.factors.numpy(), np.float32)
        return Snapshot(self.latents.snapshot(), self.log_steps.snapshot(), average, factors)

    def restore(self, was: Snapshot) -> None:
        """Set all trained variables from a snapshot. Inverse: `snapshot`."""
        self.latents.restore(was.latents)
        self.log_steps.restore(was.steps)
        self.factors.assign(was.factors)
        if self.average is not None:
            self.average.assign(was.average)


def build_uniform_group(
    weights: Sequence[Weight], are_kernels: Sequence[bool], config: UniformConfig, *, refined: bool
) -> UniformGroup:
    """A group of zeros, which `reset` then fills. refined: with centers and average."""
    tf, size = tensorflow(), sum(map(size_of, weights))
    latents, log_steps = (Adam.start(np.zeros(count, np.float32)) for count in (size, len(weights)))
    centers, average = (tf.Variable(tf.zeros(size)) if refined else None for _ in range(2))
    ones, factors = (tf.Variable(tf.ones(size)) for _ in range(2))
    return UniformGroup(
        tuple(weights),
        tuple(are_kernels),
        config,
        latents,
        log_steps,
        ones,
        tf.Variable(1.0),
        factors,
        centers,
        average,
    )
