"""Weight sharing: a kernel has few values (centroids), which are trained by the gradients of their members.

Han, Mao and Dally 2016: the assignment is fixed, and a centroid moves by the sum of the gradients of its members; Stock
et al. 2020: by their mean. Polino, Pascanu and Alistarh 2018 (differentiable quantisation): the weights are fixed, the
points are trained by gradient descent, and each weight takes the nearest point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from wcodec.codec.quantizers.kmeans import assign, cluster
from wcodec.container.dtypes import round_step
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.model import GroupWeights, TableWeights, TunedTensor
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.parametrization import Parametrization, nonzero_mask
from wcodec.training.methods.weight_groups import WeightGroups, make_groups

if TYPE_CHECKING:
    from types import ModuleType

    from tensorflow import Tensor, Variable


NEARER: Final = 0.2
"""A weight changes to another point if that distance is less than this fraction of the distance to its own point."""


@dataclass(frozen=True)
class SharedWeights:
    """A kernel with a fixed assignment. members: int32, the centroid of each weight; counts: float32, the members of
    each.
    """

    latent: Adam
    mask: Variable
    members: Variable
    counts: Float32
    moved: Literal["sum", "mean"]
    per_tensor_rate: bool = True

    def value(self, tf: ModuleType) -> Tensor:
        return tf.gather(self.latent.values, self.members) * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        sums = _sum_by_centroid(tf, gradient * self.mask, self.members, len(self.counts))
        return sums if self.moved == "sum" else sums / self.counts

    def update(self, done: float) -> None:
        pass

    def export(self) -> TunedTensor:
        learned, members, mask = self.latent.values.numpy(), self.members.numpy(), self.mask.numpy()
        return TableWeights(_round_to_half(learned)[members] * mask)


@dataclass(frozen=True)
class TrainedPoints:
    """A kernel whose weights take the nearest point, times the scale of their group.

    weights: the original weights divided by these scales; both are fixed.
    scales:  float32[groups].
    members: int32, the point of each weight. It is constant between two calls of `update`, which changes it only if
             another point is much nearer. Otherwise a point that follows the loss would lose the members whose
             gradients moved it (a small CNN at two bits: 96.75 % if members always change, 98.30 % with this rule).
    """

    latent: Adam
    mask: Variable
    weights: Float32
    members: Variable
    groups: WeightGroups
    scales: Float32
    per_tensor_rate: bool = True

    def _gather_scales(self) -> Float32:
        return self.scales[self.groups.places]

    def value(self, tf: ModuleType) -> Tensor:
        return tf.gather(self.latent.values, self.members) * self._gather_scales() * self.mask

    def latent_gradient(self, tf: ModuleType, gradient: Tensor) -> Tensor:
        return _sum_by_centroid(
            tf, gradient * self._gather_scales() * self.mask, self.members, self.latent.values.shape[0]
        )

    def update(self, done: float) -> None:
        points, members = self.latent.values.numpy(), self.members.numpy()
        near = _find_nearest(points, self.weights)
        nearer = np.abs(self.weights - points[near]) < NEARER * np.abs(self.weights - points[members])
        self.members.assign(np.where(nearer, near, members))

    def export(self) -> TunedTensor:
        points = _round_to_half(self.latent.values.numpy())
        weights = points[self.members.numpy()] * self.mask.numpy()
        if self.groups.is_whole:
            return TableWeights(weights)
        steps = self.groups.by_rows(self.scales)
        return GroupWeights(weights * self._gather_scales(), np.unique(points), steps, self.groups.size)


def _find_nearest(points: Float32, weights: Float32) -> npt.NDArray[np.int32]:
    """The index of the point nearest to each weight."""
    order = np.argsort(points)
    ordered = points[order]
    middles = 0.5 * (ordered[1:] + ordered[:-1])
    return order[np.searchsorted(middles, weights, side="right")].astype(np.int32)


def start_sharing(values: Float32, clusters: int, moved: Literal["sum", "mean"]) -> Parametrization:
    """A parametrization with clusters of these values, by k-means from a linear initialization."""
    codebook = cluster(values, clusters)
    members = assign(values, codebook) + np.int32(codebook.negatives)
    counts = np.maximum(np.bincount(members.reshape(-1), minlength=len(codebook.values)), 1).astype(np.float32)
    places = tensorflow().Variable(members, trainable=False)
    return SharedWeights(Adam.start(codebook.values), nonzero_mask(values), places, counts, moved)


def start_codebook(tuned: TableWeights) -> Parametrization:
    """A parametrization with the values of a kernel and its assignment to them; zeros stay zero."""
    centroids, codes = np.unique(tuned.values, return_inverse=True)
    codes = codes.reshape(tuned.values.shape).astype(np.int32)
    counts = np.bincount(codes.reshape(-1), minlength=len(centroids)).astype(np.float32)
    places = tensorflow().Variable(codes, trainable=False)
    return SharedWeights(Adam.start(centroids.astype(np.float32)), nonzero_mask(tuned.values), places, counts, "mean")


def start_points(values: Float32, clusters: int, bucket: int | None = None) -> Parametrization:
    """A parametrization whose points are the k-means centroids of the weights divided by the scale of their bucket."""
    groups = make_groups(values.shape, bucket, per_channel=False)
    scales = np.ones(groups.count, np.float32)
    if not groups.is_whole:
        scales = np.array([_compute_scale(part) for part in groups.split(values)], np.float32)
    weights = values / scales[groups.places]
    points = cluster(weights, clusters).values
    members = tensorflow().Variable(_find_nearest(points, weights), trainable=False)
    return TrainedPoints(Adam.start(points), nonzero_mask(values), weights, members, groups, scales)


def _compute_scale(values: Float32) -> float:
    """The root mean square of the non-zero values, with the eight mantissa bits of a file."""
    kept = values[values != 0]
    return round_step(float(np.sqrt(np.mean(np.square(kept)))) if kept.size else 1.0)


def _sum_by_centroid(tf: ModuleType, gradient: Tensor, members: Tensor, clusters: int) -> Tensor:
    return tf.math.unsorted_segment_sum(tf.reshape(gradient, [-1]), tf.reshape(members, [-1]), clusters)


def _round_to_half(values: Float32) -> Float32:
    """Values as the file has them: float16 if that type can hold them."""
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16).astype(np.float32)
    return np.where(np.isfinite(halves), halves, values).astype(np.float32)
