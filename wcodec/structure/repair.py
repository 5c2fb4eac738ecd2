"""Repair without labels: the layers after removed units are fitted to the pre-activations of the original network.

Each layer's kernel and bias are the ridge least-squares fit of the original pre-activations from the smaller network's
inputs of the layer (as in channel pruning, He et al. 2017), one layer after the other. The statistics of
BatchNormalization change by the difference that the same inputs make between the two networks. They are not replaced
by those of the inputs, which may be few or unlike the ones that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.batch_norm import find_batch_norms, reestimate
from wcodec.calibration.linear_ops import LinearOp
from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.evaluation.examples import Array, Examples
from wcodec.evaluation.keras_backend import list_layers
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.observations import batches_of, readers_of, rows_of
from wcodec.structure.rebuild import keeps, part_of

if TYPE_CHECKING:
    from keras import Layer, Model

Float64 = npt.NDArray[np.float64]

DAMPING: Final = 1e-3
"""The ridge penalty on the change of weights, as a fraction of the mean of the moments' diagonal."""
RECURRENT_DAMPING: Final = 1.0
"""The same for recurrent kernels, whose errors come back with every step: a close fit has large weights, and the states
are then far from those that it was fitted to."""


def repair(
    graph: Graph, kept: Mask, small: Model, examples: Examples, seed: int = 0, deadline: Deadline = NO_DEADLINE
) -> None:
    """Fit `small`, which is `without(graph, kept)` and is changed, to the graph's network, from inputs alone.

    deadline: for reading examples; at least one batch for each layer is read.
    """
    whole = {one.number: one for one in readers_of(graph.model, examples)}
    fitted = {one.number: one for one in readers_of(small, examples)}
    rescaled = {id(variable) for variable, units in graph.rescaled if not keeps(units, kept).all()}
    moving = set(map(id, find_batch_norms(small)))
    turns = deadline.turns(len(moving) + len(fitted))
    for number, layer in enumerate(list_layers(small)):
        if id(layer) in moving:
            batches = list(next(turns).within(batches_of(examples)))
            _move_statistics(graph, kept, small, (list_layers(graph.model)[number], layer), batches)
        if number not in whole or number not in fitted:
            continue
        before, after, until = whole[number], fitted[number], next(turns)
        pairs = list(zip(before.ops, after.ops, strict=True))
        if any(id(op.variable) in rescaled for op in before.ops):
            continue
        sums = [_Sums(a, b) for a, b in pairs]
        both = zip(rows_of(graph.model, before, examples, seed), rows_of(small, after, examples, seed), strict=True)
        for originals, rows in until.within(both):
            for one, x0, x in zip(sums, originals, rows, strict=True):
                one.add(x0, x)
        for one, (op, _) in zip(sums, pairs, strict=True):
            one.fit(layer if len(pairs) == 1 else None, _columns(graph, op, kept))


def _move_statistics(
    graph: Graph, kept: Mask, small: Model, layers: tuple[Layer, Layer], batches: Sequence[tuple[Array, ...]]
) -> None:
    """Move a BatchNormalization's statistics by what the examples' own differ between the two networks.

    layers: of the whole network, which keeps its statistics, and of the smaller one.
    """
    old, new = layers
    own = [np.asarray(one) for one in (old.moving_mean, old.moving_variance)]
    mean, variance = (np.asarray(one) for one in (new.moving_mean, new.moving_variance))
    reestimate(graph.model, [old], batches)
    reestimate(small, [new], batches)
    before = [part_of(graph, one, kept) for one in (old.moving_mean, old.moving_variance)]
    after = [np.asarray(one) for one in (new.moving_mean, new.moving_variance)]
    old.moving_mean.assign(own[0])
    old.moving_variance.assign(own[1])
    new.moving_mean.assign(mean + after[0] - before[0])
    ratio = (after[1] + new.epsilon) / (before[1] + new.epsilon)
    new.moving_variance.assign(np.maximum((variance + new.epsilon) * ratio - new.epsilon, 0))


class _Sums:
    """Moments of the rows x that a kernel multiplies in the smaller network, and x0 in the original one."""

    def __init__(self, before: LinearOp, after: LinearOp) -> None:
        self.before, self.after = before, after
        weights = before.as_matrix(np.asarray(before.variable, dtype=np.float64))
        self.weights = weights
        self.start = after.as_matrix(np.asarray(after.variable, dtype=np.float64))
        inputs, others = len(self.start), len(weights)
        self.count = 0
        self.mean, self.mean0 = np.zeros(inputs), np.zeros(others)
        self.power, self.cross = np.zeros((inputs, inputs)), np.zeros((inputs, others))

    def add(self, originals: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> None:
        """Add a batch of rows, from the same places of both networks."""
        self.count += len(rows)
        self.mean += rows.sum(axis=0)
        self.mean0 += originals.sum(axis=0)
        self.power += rows.T @ rows
        self.cross += rows.T @ originals

    def fit(self, layer: Layer | None, columns: Mask) -> None:
        """Set the smaller network's kernel, and the bias of `layer` if it has one."""
        bias = getattr(layer, "bias", None) if layer is not None else None
        power, cross = self.power / self.count, self.cross / self.count
        mean, mean0 = self.mean / self.count, self.mean0 / self.count
        has_bias = bias is not None and tuple(bias.shape) == (self.start.shape[1],)
        if has_bias:
            power, cross = power - np.outer(mean, mean), cross - np.outer(mean, mean0)
        wanted = self.weights[:, columns]
        part = RECURRENT_DAMPING if self.after.variable.path.endswith("recurrent_kernel") else DAMPING
        damping = part * float(np.diag(power).mean()) + 1e-12
        left = power + damping * np.eye(len(power))
        found = np.linalg.solve(left, cross @ wanted + damping * self.start)
        if has_bias and bias is not None:
            bias.assign(np.asarray(bias, dtype=np.float64) + mean0 @ wanted - mean @ found)
        self.after.variable.assign(self.after.as_kernel(found.astype(np.float32)))


def _columns(graph: Graph, op: LinearOp, kept: Mask) -> Mask:
    """bool[outputs]: the columns of an operation's matrix that the smaller network has."""
    shape = tuple(op.variable.shape)
    stays: Mask = np.ones(shape, bool)
    for one in graph.axes_of.get(id(op.variable), []):
        turned = [1] * len(shape)
        turned[one.axis] = shape[one.axis]
        stays = stays & keeps(one.units, kept).reshape(turned)
    found: Mask = np.asarray(op.as_matrix(stays).any(axis=0), bool)
    return found
