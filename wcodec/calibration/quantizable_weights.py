"""Which of a network's weights are rounded, in which order, and by which steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.linear_ops import LinearOp, find_linear_ops
from wcodec.codec.dequantization import round_step
from wcodec.codec.entropy import context
from wcodec.container.wire import MAX_LEVEL
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.weight_mapping import Places

if TYPE_CHECKING:
    from keras import Layer, Model, Variable


Float32 = npt.NDArray[np.float32]

NORMALIZATIONS: Final = (
    "Normalization",
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "RMSNormalization",
)
"""Layers whose weights of any shape are kept: statistics and gains."""
GROWTH: Final = 0.25
"""Steps grow with this power of a tensor's number of weights."""


@dataclass(frozen=True)
class Kernel:
    """A weight of two or more dimensions.

    index:    its place in `model.weights`.
    original: its values.
    layer:    the layer that multiplies by it, with its site; None where it is rounded plainly.
    """

    index: int
    variable: Variable
    original: Float32
    layer: Layer | None
    op: LinearOp | None


def list_layers(model: Model) -> list[Layer]:
    """Every layer inside the network, however deep, once."""
    return list({id(layer): layer for layer in model._flatten_layers(include_self=False)}.values())


def find_kernels(model: Model, exact: Places = frozenset()) -> tuple[Kernel, ...]:
    """What is rounded, in the order of `model.weights`: float kernels, no biases, gains or statistics.

    exact: places of what stays as it is.
    """
    ops: dict[int, tuple[Layer, LinearOp]] = {}
    kept: set[int] = set()
    for layer in list_layers(model):
        if type(layer).__name__ in NORMALIZATIONS or getattr(layer, "quantization_mode", None):
            kept |= {id(weight) for weight in layer.weights}
        ops |= {id(op.variable): (layer, op) for op in find_linear_ops(layer)}
    found = []
    for index, variable in enumerate(model.weights):
        if index in exact:
            continue
        is_float = str(variable.dtype) in ("float32", "float16", "bfloat16", "float64")
        if is_float and len(variable.shape) >= 2 and not variable.name.endswith("bias") and id(variable) not in kept:
            layer, op = ops.get(id(variable), (None, None))
            found.append(Kernel(index, variable, read_values(variable), layer, op))
    return tuple(found)


def find_trainable(model: Model, exact: Places = frozenset()) -> list[int]:
    """Places of the float32 weights that a layer made to be learned, those of frozen layers too; no statistics.

    exact: see `kernels_of`.
    """
    made = {id(weight) for layer in list_layers(model) for weight in layer._trainable_variables}
    every = enumerate(model.weights)
    return [i for i, one in every if id(one) in made and str(one.dtype) == "float32" and i not in exact]


def read_values(variable: Variable) -> Float32:
    """The values as float32."""
    values: Float32 = keras().ops.convert_to_numpy(keras().ops.cast(variable, "float32"))
    return values


def initial_steps(kernels: Sequence[Kernel], size: float, factors: Sequence[float] | None = None) -> list[float]:
    """Steps in units of the weights, as they are stored: `size` times the rms for the largest kernel.

    Errors add up over kernels while bytes go by their number of weights, so large kernels get larger steps. Kernels
    without feedback get half of it. 0.0 stands for a kernel of zeros.

    factors: on the steps, where they were measured.
    """
    largest = max((kernel.original.size for kernel in kernels), default=1)
    steps = []
    for kernel, factor in zip(kernels, factors or itertools.repeat(1.0), strict=False):
        rms = float(np.sqrt(np.square(kernel.original, dtype=np.float64).mean())) if kernel.original.size else 0.0
        wanted = factor * size * rms * (kernel.original.size / largest) ** GROWTH * (1.0 if kernel.op else 0.5)
        steps.append(round_step(wanted) if wanted > 0 and np.isfinite(wanted) else 0.0)
    return steps


def estimate_bytes(levels: npt.NDArray[np.int32]) -> int:
    """Bytes of the levels as a file has them, or a little more: the fastest of its coders' ways."""
    if not levels.size:
        return 0
    matrix = np.clip(levels, -MAX_LEVEL, MAX_LEVEL).reshape(-1, levels.shape[-1])
    return len(context.encode(np.ascontiguousarray(matrix.T[:, :, None]), effort="fast"))
