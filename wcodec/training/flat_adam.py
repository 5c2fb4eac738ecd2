"""Many weights as one flat vector, moved together by Adam: one operation a step in place of one a weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Variable as Weight
    from tensorflow import Tensor, Variable


Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Adam:
    """Values that are learned, and their moments (Kingma and Ba 2015); flat, float32."""

    values: Variable
    mean: Variable
    power: Variable


def adam(tf: ModuleType, size: int) -> Adam:
    """Zeros, not moved yet."""
    return Adam(*(tf.Variable(tf.zeros(size)) for _ in range(3)))


def restart(learned: Adam, values: Float32) -> None:
    """Go on from `values`, and forget the moments."""
    learned.values.assign(values)
    learned.mean.assign(np.zeros_like(values))
    learned.power.assign(np.zeros_like(values))


def state(learned: Adam) -> tuple[Float32, Float32, Float32]:
    """Values and moments, as copies."""
    values, mean, power = (np.array(one.numpy(), np.float32) for one in (learned.values, learned.mean, learned.power))
    return values, mean, power


def move(tf: ModuleType, learned: Adam, gradient: Tensor, speed: Tensor, count: Tensor, memory: float = 0.999) -> None:
    """One step against the gradient. count: of this step, from 1; memory: the decay of the second moment."""
    tf.raw_ops.ResourceApplyAdam(
        var=learned.values.handle,
        m=learned.mean.handle,
        v=learned.power.handle,
        beta1_power=tf.pow(0.9, count),
        beta2_power=tf.pow(memory, count),
        lr=speed,
        beta1=0.9,
        beta2=memory,
        epsilon=1e-12,
        grad=gradient,
    )


def size_of(weight: Weight) -> int:
    """Elements."""
    return int(np.prod(weight.shape))


def split(tf: ModuleType, flat: Tensor, weights: Sequence[Weight]) -> list[Tensor]:
    """A flat tensor in the shapes of `weights`. Inverse: concatenation."""
    parts = tf.split(flat, [size_of(weight) for weight in weights]) if weights else []
    return [tf.reshape(part, weight.shape) for part, weight in zip(parts, weights, strict=True)]


def cut(flat: Float32, weights: Sequence[Weight]) -> list[Float32]:
    """The values of a flat array in the shapes of `weights`. Inverse: `joined`."""
    ends = np.cumsum([size_of(weight) for weight in weights])
    parts = np.split(flat, ends[:-1]) if weights else []
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]


def joined(arrays: Sequence[npt.NDArray[np.floating]]) -> Float32:
    """All values one after another. Inverse: `cut`."""
    return (
        np.concatenate([array.reshape(-1) for array in arrays]).astype(np.float32)
        if arrays
        else np.zeros(0, np.float32)
    )
