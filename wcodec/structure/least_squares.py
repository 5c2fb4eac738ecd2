"""The fit of a layer's kernel in a smaller network: ridge least squares to the pre-activations of the original one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.linear_ops import LinearOp
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.rebuild import keeps

if TYPE_CHECKING:
    from keras import Layer

Float32 = npt.NDArray[np.float32]

DAMPING: Final = 1e-3
"""The ridge penalty on the change of weights, as a fraction of the mean of the moments' diagonal."""
RECURRENT_DAMPING: Final = 1.0
"""The same for recurrent kernels, whose errors come back with every step: a close fit has large weights, and the states
are then far from those that it was fitted to."""


class RowSums:
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

    def add(self, originals: Float32, rows: Float32) -> None:
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


def kept_columns(graph: Graph, op: LinearOp, kept: Mask) -> Mask:
    """bool[outputs]: the columns of an operation's matrix that the smaller network has."""
    found: Mask = np.asarray(_find_staying(graph, op, kept).any(axis=0), bool)
    return found


def kept_rows(graph: Graph, op: LinearOp, kept: Mask) -> Mask:
    """bool[inputs]: the rows of an operation's matrix that the smaller network has."""
    found: Mask = np.asarray(_find_staying(graph, op, kept).any(axis=1), bool)
    return found


def _find_staying(graph: Graph, op: LinearOp, kept: Mask) -> Mask:
    """bool[inputs, outputs]: which weights of an operation's matrix stay."""
    shape = tuple(op.variable.shape)
    stays: Mask = np.ones(shape, bool)
    for one in graph.axes_of.get(id(op.variable), []):
        turned = [1] * len(shape)
        turned[one.axis] = shape[one.axis]
        stays = stays & keeps(one.units, kept).reshape(turned)
    return op.as_matrix(stays)
