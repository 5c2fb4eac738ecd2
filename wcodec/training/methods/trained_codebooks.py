"""Shared weights that are trained: a few values a kernel, moved by the gradients of their members.

Han, Mao and Dally 2016: members stay, and a centroid moves by the sum of their gradients; Stock et al. 2020: by their
mean. Polino, Pascanu and Alistarh 2018 (differentiable quantisation): the weights stay, the points are trained by
gradient descent, and each weight always takes the point next to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from wcodec.codec.quantizers.kmeans import assign, cluster
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.model import TableWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, constant, nonzero_mask

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable


@dataclass(frozen=True)
class SharedWeights:
    """A kernel whose members keep their centroid. members: int32, of each weight; counts: float32, of each centroid."""

    latent: Adam
    mask: Variable
    members: Variable
    counts: Float32
    moved: Literal["sum", "mean"]
    per_tensor_rate: bool = True

    def value(self, tf: ModuleType) -> Tensor:
        return tf.gather(self.latent.values, self.members) * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        sums = _summed(tf, gradient * self.mask, self.members, len(self.counts))
        return sums if self.moved == "sum" else sums / self.counts

    def update(self, done: float) -> None:
        pass

    def export(self) -> TunedTensor:
        values = _half(self.latent.values.numpy())
        return TableWeights(values[self.members.numpy()] * self.mask.numpy())


@dataclass(frozen=True)
class TrainedPoints:
    """A kernel whose weights take the nearest of the points."""

    latent: Adam
    mask: Variable
    weights: Variable
    per_tensor_rate: bool = True

    def _nearest(self, tf: ModuleType) -> Tensor:
        """int32: of each weight."""
        order = tf.argsort(self.latent.values)
        ordered = tf.gather(self.latent.values, order)
        middles = 0.5 * (ordered[1:] + ordered[:-1])
        places = tf.searchsorted(middles, tf.reshape(self.weights, [-1]), side="right")
        return tf.reshape(tf.gather(order, places), self.weights.shape)

    def value(self, tf: ModuleType) -> Tensor:
        return tf.gather(self.latent.values, self._nearest(tf)) * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        return _summed(tf, gradient * self.mask, self._nearest(tf), self.latent.values.shape[0])

    def update(self, done: float) -> None:
        pass

    def export(self) -> TunedTensor:
        values = _half(self.latent.values.numpy())
        return TableWeights(values[self._nearest(tensorflow()).numpy()] * self.mask.numpy())


def start_sharing(values: Float32, clusters: int, moved: Literal["sum", "mean"]) -> Parametrization:
    """Clusters of these values, by k-means from a linear start."""
    codebook = cluster(values, clusters)
    members = assign(values, codebook) + np.int32(codebook.negatives)
    counts = np.maximum(np.bincount(members.reshape(-1), minlength=len(codebook.values)), 1).astype(np.float32)
    places = tensorflow().Variable(members, trainable=False)
    return SharedWeights(Adam.start(codebook.values), nonzero_mask(values), places, counts, moved)


def start_points(values: Float32, clusters: int) -> Parametrization:
    """Points where k-means has its centroids."""
    codebook = cluster(values, clusters)
    centroids = np.delete(codebook.values, codebook.negatives) if len(codebook.values) > 1 else codebook.values
    return TrainedPoints(Adam.start(centroids), nonzero_mask(values), constant(values))


def _summed(tf: ModuleType, gradient: Tensor, members: Tensor, clusters: int) -> Tensor:
    return tf.math.unsorted_segment_sum(tf.reshape(gradient, [-1]), tf.reshape(members, [-1]), clusters)


def _half(values: Float32) -> Float32:
    """As a file has them: float16 where that holds them."""
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16).astype(np.float32)
    return np.where(np.isfinite(halves), halves, values).astype(np.float32)
