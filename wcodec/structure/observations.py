"""The inputs of the kernels of a network: the rows that each multiplies, and the unit of each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.activations import RecordedLayer, count_calls, record_rows
from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.linear_ops import LinearOp, find_linear_ops
from wcodec.evaluation.examples import Batches, Examples
from wcodec.evaluation.inference import BATCH, batches
from wcodec.evaluation.keras_backend import list_layers
from wcodec.structure.graph import Graph
from wcodec.structure.units import Units

if TYPE_CHECKING:
    from keras import Layer, Model

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

WIDEST: Final = 4096
"""The largest number of inputs of a kernel whose second moments are computed."""


@dataclass(frozen=True)
class Reader:
    """A layer with kernels that are matrices [rows, outputs].

    number: of the layer, in `list_layers` of the network.
    calls:  the number of calls of the layer for a batch.
    """

    number: int
    layer: Layer
    ops: tuple[LinearOp, ...]
    calls: int


def readers_of(model: Model, examples: Examples) -> list[Reader]:
    """The layers whose inputs can be observed, in the order of the network."""
    found = []
    for number, layer in enumerate(list_layers(model)):
        ops = tuple(op for op in find_linear_ops(layer) if op.inputs <= WIDEST)
        if ops:
            found.append((number, layer, ops))
    calls = count_calls(model, [layer for _, layer, _ in found], tuple(array[:2] for array in examples.inputs))
    return [Reader(*one, count) for one, count in zip(found, calls, strict=True) if count]


def rows_of(model: Model, reader: Reader, examples: Examples, seed: int) -> Iterator[tuple[Float32, ...]]:
    """For each batch and operation the rows float32[rows, inputs], at the same places for any weights."""
    recorded = RecordedLayer(reader.layer, reader.ops, reader.calls, -(-examples.count // BATCH))
    return record_rows(model, recorded, batches_of(examples), seed, CalibrationConfig())


def batches_of(examples: Examples) -> Batches:
    """All inputs, batch by batch."""
    return [tuple(array[at] for array in examples.inputs) for at in batches(examples.count)]


def units_of_rows(graph: Graph, op: LinearOp) -> Units:
    """For each row of an operation's matrix the unit that it reads, or NONE."""
    shape = tuple(op.variable.shape)
    found = np.full(shape, -1, np.intp)
    for one in graph.axes_of.get(id(op.variable), []):
        if one.role == "in" and one.axis in op.order[: op.input_axes]:
            turned = [1] * len(shape)
            turned[one.axis] = shape[one.axis]
            found = np.where(found == -1, one.units.reshape(turned), found)
    return op.as_matrix(found)[:, 0]
