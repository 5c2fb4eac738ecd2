"""A kernel of shared vectors whose codes are trained: each block has weights of its own, which determine its vector.

The network gets the vectors. The gradient moves a vector by the mean over its members (Stock et al. 2020), and the
block's own weights as if they were the network's (straight-through estimator). From time to time each block is assigned
to the vector nearest to its own weights; a vector without members takes half of the cluster with the largest error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.layout import from_rows, to_rows, view_shape
from wcodec.codec.quantizers.product import as_integers, assign_nearest, split_largest, spread_of
from wcodec.container.dtypes import round_step
from wcodec.evaluation.keras_backend import read_values, tensorflow
from wcodec.model import VectorCodebook, VectorWeights
from wcodec.training.flat_adam import Adam

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Variable as Weight
    from tensorflow import Tensor, Variable

COARSER: Final = 1.25
"""Factor on the distance of codebook entries after training, which spreads them. A smaller distance costs bytes."""
OWN_RATE: Final = 0.0015
"""The initial learning rate of the blocks' own weights, as a fraction of the root mean square of the kernel."""
NEAR_ORIGINAL: Final = 0.5
"""Where the blocks' own weights are at first, from their vectors (0) to the original weights (1)."""
NO_PRICES: Final = np.empty(0)


@dataclass(frozen=True)
class VectorGroup:
    """One kernel, a `ParameterGroup`.

    index:   the position in `model.weights`.
    book:    the codebook before training; the layout and the step of the trained one are the same.
    vectors: float32[size, block]; the first is 0 and is not trained.
    own:     float32[blocks, block], in the order of the rows of the layout.
    members: int32[blocks], the vector of each block; counts: float32[size, 1], the blocks of each vector, at least 1.
    order:   int32[weights], for each weight of the kernel its position in the rows; back: the inverse permutation.
    rate, own_rate: the learning rates of `vectors` and `own`.
    """

    index: int
    weights: tuple[Weight]
    book: VectorCodebook
    vectors: Adam
    own: Adam
    members: Variable
    counts: Variable
    order: npt.NDArray[np.int32]
    back: npt.NDArray[np.int32]
    rate: float
    own_rate: float

    def values(self, tf: ModuleType) -> list[Tensor]:
        rows = tf.reshape(tf.gather(self.vectors.values, self.members), [-1])
        return [tf.reshape(tf.gather(rows, self.order), self.weights[0].shape)]

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        if gradients[0] is None:
            return
        flat = tf.reshape(tf.cast(tf.convert_to_tensor(gradients[0]), "float32"), [-1])
        gradient = tf.reshape(tf.gather(flat, self.back), self.own.values.shape)
        size = self.vectors.values.shape[0]
        sums = tf.math.unsorted_segment_sum(gradient, self.members, size)
        is_trained = tf.concat([tf.zeros([1, 1]), tf.ones([size - 1, 1])], 0)
        self.vectors.step_together(tf, is_trained * sums / self.counts, factor * self.rate)
        self.own.step(tf, gradient, factor * self.own_rate)

    def reassign(self) -> None:
        """Assign each block to the vector that is nearest to its own weights."""
        own, vectors = self.own.values.numpy(), self.vectors.values.numpy().astype(np.float64)
        codes = assign_nearest(own, vectors, NO_PRICES)
        counts = np.bincount(codes, minlength=len(vectors)).astype(np.float64)
        if (counts[1:] == 0).any():
            split_largest(vectors, counts, spread_of(own, codes, vectors))
            codes = assign_nearest(own, vectors, NO_PRICES)
            counts = np.bincount(codes, minlength=len(vectors)).astype(np.float64)
            vectors[0] = 0.0
            self.vectors.values.assign(vectors.astype(np.float32))
        self.members.assign(codes)
        self.counts.assign(np.maximum(counts, 1)[:, None].astype(np.float32))

    def export(self) -> VectorWeights:
        """The weights to code."""
        step = self.book.step
        entries = np.rint(self.vectors.values.numpy().astype(np.float64) / step)
        largest = (float(np.abs(entries).max(initial=0.0)) + 1) * step
        book = as_integers(entries * step, NO_PRICES, step, largest)
        rows = (entries * step).astype(np.float32)[self.members.numpy()].reshape(-1)
        values = rows[self.order].reshape(tuple(self.weights[0].shape))
        return VectorWeights(values, VectorCodebook(self.book.layout, book.entries, step))


def start_vectors(index: int, weight: Weight, tuned: VectorWeights, rate: float, own_rate: float) -> VectorGroup:
    """A group that starts with the codebook and the codes of a kernel.

    weight: has its original values. The blocks' own weights start between these and their vectors: a block whose
            original is nearly as close to another vector changes to it sooner, and one whose vector is nearest keeps it
            at the first assignment.
    """
    shape, layout, block = tuned.values.shape, tuned.codebook.layout, tuned.codebook.entries.shape[1]
    positions = np.arange(tuned.values.size, dtype=np.int32)
    back = to_rows(positions.reshape(shape), layout).reshape(-1)
    order = from_rows(positions.reshape(view_shape(shape, layout)), shape, layout).reshape(-1)
    rows = tuned.values.reshape(-1)[back].reshape(-1, block)
    vectors, codes = np.unique(np.concatenate([np.zeros((1, block), np.float32), rows]), axis=0, return_inverse=True)
    zero = int(codes.reshape(-1)[0])
    codes = codes.reshape(-1)[1:]
    vectors[[0, zero]], codes = vectors[[zero, 0]], np.where(codes == zero, 0, np.where(codes == 0, zero, codes))
    counts = np.maximum(np.bincount(codes, minlength=len(vectors)), 1)[:, None].astype(np.float32)
    book = VectorCodebook(layout, tuned.codebook.entries, round_step(COARSER * tuned.codebook.step))
    original = read_values(weight).reshape(-1)[back].reshape(-1, block)
    own = rows + np.float32(NEAR_ORIGINAL) * (original - rows)
    variable = tensorflow().Variable
    return VectorGroup(
        index,
        (weight,),
        book,
        Adam.start(vectors.astype(np.float32)),
        Adam.start(own.astype(np.float32)),
        variable(codes.astype(np.int32), trainable=False),
        variable(counts, trainable=False),
        order,
        back,
        rate,
        own_rate,
    )
