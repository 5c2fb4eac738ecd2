"""Units with a constant value for every input, because their incoming weights are all zero."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.keras_backend import keras
from wcodec.structure.activations import activate
from wcodec.structure.flow import Flow, Linear, Values
from wcodec.structure.graph import Graph

Float64 = npt.NDArray[np.float64]


def constants_of(graph: Graph) -> dict[int, Values]:
    """By id of a flow of the graph's steps: the constant value of each of its positions, or NaN."""
    found: dict[int, Values] = {}
    for step in graph.steps:
        if isinstance(step, Linear):
            made = _apply_linear(step, find_constants(found, step.source))
        else:
            made = step.values([find_constants(found, source) for source in step.sources])
        found[id(step.target)] = made
    return found


def find_constants(constants: dict[int, Values], flow: Flow) -> Values:
    """The constant values of a flow; NaN at every position if nothing is known about it."""
    return constants.get(id(flow), np.full(len(flow.units), np.nan))


def matrix_of(step: Linear) -> Float64:
    """The kernel as float64[taps, inputs, outputs]."""
    kernel = values_of(step.kernel)
    moved = np.moveaxis(kernel, (step.reads, step.writes), (-2, -1))
    return np.ascontiguousarray(moved).reshape(-1, *moved.shape[-2:])


def values_of(variable: object) -> Float64:
    """The values of a variable in double precision."""
    values: Float64 = keras().ops.convert_to_numpy(variable).astype(np.float64)
    return values


def _apply_linear(step: Linear, values: Values) -> Values:
    count = len(step.target.units)
    bias = np.zeros(count) if step.bias is None else values_of(step.bias)
    if step.reads == step.writes:
        kernel = np.moveaxis(values_of(step.kernel), step.reads, 0).reshape(count, -1)
        sums = np.where(kernel.any(axis=1), values, 0.0) * kernel.sum(axis=1)
        unknown = np.isnan(sums) | (kernel.any(axis=1) & (values != 0) & (not step.is_local))
        made = np.where(unknown, np.nan, np.nan_to_num(sums) + bias)
    else:
        kernel = matrix_of(step)
        used = (kernel != 0).any(axis=0)
        told = np.isnan(values) | (~np.isnan(values) & (values != 0) & (not step.is_local))
        moves = used[told].any(axis=0) if told.any() else np.zeros(count, bool)
        made = np.where(moves, np.nan, np.where(told, 0.0, np.nan_to_num(values)) @ kernel.sum(axis=0) + bias)
    return activate(step.layer, made) if step.activates else made
