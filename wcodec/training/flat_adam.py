"""Adam (Kingma and Ba 2015) on one flat vector of many weights: one operation for all weights in a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.keras_backend import apply_adam, tensorflow

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Variable as Weight
    from tensorflow import Tensor, Variable


Float32 = npt.NDArray[np.float32]
Moments = tuple[Float32, Float32, Float32, float]
"""The values, their first and second moments, and the number of steps."""


@dataclass(frozen=True)
class Adam:
    """Trained values and their moments: float32, of one shape. count: the number of steps made."""

    values: Variable
    mean: Variable
    mean_square: Variable
    count: Variable

    @staticmethod
    def start(values: Float32) -> Adam:
        """Start with `values` and zero moments."""
        tf = tensorflow()
        mean, mean_square = (tf.Variable(tf.zeros(values.shape)) for _ in range(2))
        return Adam(tf.Variable(values), mean, mean_square, tf.Variable(0.0))

    def reset(self, values: Float32) -> None:
        """Set the values, and set the moments to zero."""
        self.restore((values, np.zeros_like(values), np.zeros_like(values), 0.0))

    def snapshot(self) -> Moments:
        """A copy of the values and moments. Inverse: `restore`."""
        values, mean, square = (np.array(one.numpy(), np.float32) for one in (self.values, self.mean, self.mean_square))
        return values, mean, square, float(self.count.numpy())

    def restore(self, moments: Moments) -> None:
        """Set values and moments from a snapshot. Inverse: `snapshot`."""
        for variable, value in zip((self.values, self.mean, self.mean_square, self.count), moments, strict=True):
            variable.assign(value)

    def step(
        self, tf: ModuleType, gradient: Tensor, rate: Tensor, beta2: float = 0.999, factors: Tensor | None = None
    ) -> None:
        """Make one step against the gradient, in a graph.

        rate:    the learning rate.
        beta2:   the decay of the second moment.
        factors: a factor on the learning rate of each value.
        """
        self.count.assign_add(1.0)
        if factors is None:
            apply_adam((self.values, self.mean, self.mean_square), gradient, rate, self.count, beta2)
            return
        before = tf.identity(self.values)
        apply_adam((self.values, self.mean, self.mean_square), gradient, 1.0, self.count, beta2)
        self.values.assign(before + (self.values - before) * factors * rate)

    def step_together(self, tf: ModuleType, gradient: Tensor, rate: Tensor) -> None:
        """Make one step of gradient descent with momentum, in a graph. The gradient is divided by its running root mean
        square over all values.
        """
        self.count.assign_add(1.0)
        self.mean.assign(0.9 * self.mean + 0.1 * gradient)
        self.mean_square.assign(0.99 * self.mean_square + 0.01 * tf.reduce_mean(tf.square(gradient)))
        scale = tf.sqrt(self.mean_square / (1 - tf.pow(0.99, self.count))) + 1e-12
        self.values.assign_sub(rate * self.mean / scale)


def size_of(weight: Weight) -> int:
    """The number of elements."""
    return int(np.prod(weight.shape))


def unflatten_tensor(tf: ModuleType, flat: Tensor, weights: Sequence[Weight]) -> list[Tensor]:
    """Split a flat tensor into tensors with the shapes of `weights`."""
    parts = tf.split(flat, [size_of(weight) for weight in weights])
    return [tf.reshape(part, weight.shape) for part, weight in zip(parts, weights, strict=True)]


def unflatten(flat: npt.NDArray[np.floating], weights: Sequence[Weight]) -> list[Float32]:
    """Split a flat array into arrays with the shapes of `weights`. Inverse: `flatten`."""
    parts = np.split(flat, np.cumsum([size_of(weight) for weight in weights])[:-1]) if weights else []
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]


def flatten(arrays: Sequence[npt.NDArray[np.floating]]) -> Float32:
    """Concatenate all values, as float32. Inverse: `unflatten`."""
    return np.concatenate([np.zeros(0, np.float32), *(array.reshape(-1) for array in arrays)]).astype(np.float32)
