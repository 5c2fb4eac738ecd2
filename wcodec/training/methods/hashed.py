"""HashedNets (Chen, Wilson, Tyree, Weinberger and Chen 2015): the weights of a kernel share few values, assigned by a
hash.

The gradient of a value is the sum of the gradients of its members, each with its sign. A hash cannot preserve a trained
network: the values start as the means of their members, scaled to the magnitude of the kernel, and nearly everything is
learned again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.layout import from_rows, to_rows
from wcodec.codec.quantization import outputs_as_rows
from wcodec.codec.quantizers.hashing import hash_places
from wcodec.container.dtypes import round_step
from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.errors import RecipeError
from wcodec.model import HashedWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, start_float

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor

RANGE: Final = 127
"""The largest integer by which the file stores a value."""


@dataclass(frozen=True)
class HashedKernel:
    """A hashed kernel. places: the bucket of each weight; signs: 1 or -1; both with the shape of the kernel."""

    latent: Adam
    places: npt.NDArray[np.int32]
    signs: Float32
    seed: int
    per_tensor_rate: bool = False

    def value(self, tf: ModuleType) -> Tensor:
        return tf.gather(self.latent.values, self.places) * self.signs

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        flat = tf.reshape(gradient * self.signs, [-1])
        return tf.math.unsorted_segment_sum(flat, self.places.reshape(-1), self.latent.values.shape[0])

    def update(self, done: float) -> None:
        pass

    def export(self) -> TunedTensor:
        values = self.latent.values.numpy()
        step = round_step(float(np.abs(values).max(initial=0.0)) / RANGE or 1.0)
        levels = np.rint(values / np.float32(step)).astype(np.int32)
        weights = (levels[self.places] * self.signs * np.float64(step)).astype(np.float32)
        return HashedWeights(weights, levels, step, self.seed)


def start_hashed(values: Float32, ratio: float, seed: int) -> Parametrization:
    """A parametrization that starts from the means of the buckets. ratio: buckets divided by weights; seed: of the
    hash.

    Raises: RecipeError for a kernel that is too large for one section of a file.
    """
    if values.size > CHUNK_WEIGHTS:
        raise RecipeError(f"--method hashed: expected kernels of up to {CHUNK_WEIGHTS:,} weights, got {values.size:,}")
    buckets = min(max(1, round(ratio * values.size)), values.size - 1)
    if not buckets:
        return start_float(values)
    layout = outputs_as_rows(values.shape, "last")
    shape = to_rows(values, layout).shape
    places, signs = (
        from_rows(one.reshape(shape), values.shape, layout) for one in hash_places(values.size, seed, buckets)
    )
    sums = np.bincount(places.reshape(-1), (values * signs).reshape(-1), buckets)
    counts = np.bincount(places.reshape(-1), minlength=buckets)
    means = (sums / np.maximum(counts, 1)).astype(np.float32)
    spread = np.sqrt(np.mean(np.square(values)) / max(float(np.mean(np.square(means))), 1e-12))
    return HashedKernel(Adam.start(means * np.float32(spread)), places, signs.astype(np.float32), seed)
