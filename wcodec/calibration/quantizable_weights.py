"""The weights of a network, one object each: index, linear operation, and the tensors of the file that contain it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from wcodec.calibration.batch_norm import find_batch_norms
from wcodec.calibration.linear_ops import LinearOp, find_linear_ops
from wcodec.codec.entropy import context
from wcodec.container.dtypes import round_mantissa, round_step
from wcodec.container.wire import MAX_LEVEL
from wcodec.evaluation.keras_backend import list_created_weights, list_layers, read_values
from wcodec.evaluation.runner import NetworkWeight
from wcodec.model import TunedTensor

if TYPE_CHECKING:
    from keras import Layer, Model, Variable

Float32 = npt.NDArray[np.float32]
Kind = Literal["kernel", "vector", "statistic", "other"]

NORMALIZATIONS: Final = frozenset(
    {"Normalization", "BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"}
)
"""Layers whose weights are statistics and gains of any shape, never kernels."""
FLOATS: Final = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class Weight:
    """One weight of a network.

    index:    its position in `model.weights`.
    kind:     "kernel": a float weight of two or more dimensions that is no bias, gain or statistic. "vector": another
              float32 weight that a layer created to be trained, also in frozen layers. "statistic": a moving mean or
              variance that may change. "other": everything else.
    original: its values as float32 when the table was made.
    layer:    the layer that multiplies by a kernel, with its linear operation; None if the kernel is rounded without
              feedback.
    names:    of the file's tensors that contain it; none if it was changed in loading.
    """

    index: int
    variable: Variable | NetworkWeight
    kind: Kind
    original: Float32
    layer: Layer | object | None
    op: LinearOp | None
    names: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The name that Keras gives it."""
        return str(self.variable.path)

    @property
    def trainable(self) -> bool:
        """Whether training may change it: a float32 kernel or vector. A scalar has no step and stays exact."""
        is_scalar = self.original.ndim == 0
        return self.kind in ("kernel", "vector") and str(self.variable.dtype) == "float32" and not is_scalar


@dataclass(frozen=True)
class WeightTable:
    """The weights of a network.

    weights:     those that may change, in the order of `model.weights`, without those that the recipe codes exactly.
    batch_norms: the layers whose moving statistics may change.
    names:       of the file's tensors, by index in `model.weights`.
    exact:       names of the tensors that stay as they are.
    missed:      tensors of the file that contain weights and have no counterpart here: they are coded as without data.
    mantissas:   mantissa bits in the file of a weight without a step, by index in `model.weights`; all bits if it is
                 absent.
    """

    weights: tuple[Weight, ...]
    batch_norms: tuple[Layer, ...]
    names: Mapping[int, tuple[str, ...]]
    exact: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    mantissas: Mapping[int, int] = field(default_factory=dict)

    def as_in_file(self, one: Weight, values: Float32) -> Float32:
        """`values` of a weight without a step, rounded to the precision of the file."""
        return round_mantissa(values, self.mantissas.get(one.index, 23))

    @property
    def kernels(self) -> tuple[Weight, ...]:
        """The weights that are rounded with feedback."""
        return tuple(one for one in self.weights if one.kind == "kernel")

    @property
    def statistics(self) -> tuple[Weight, ...]:
        """The moving means and variances."""
        return tuple(one for one in self.weights if one.kind == "statistic")

    @property
    def trainable(self) -> tuple[Weight, ...]:
        """The float32 kernels and vectors."""
        return tuple(one for one in self.weights if one.trainable)

    def restore_kernels(self) -> None:
        """Assign the original values to every kernel."""
        for one in self.kernels:
            one.variable.assign(one.original)

    def by_name(self, values: Mapping[int, TunedTensor]) -> dict[str, TunedTensor]:
        """`values` by the names of the file's tensors instead of indices; weights without a name are left out."""
        return {name: tuned for index, tuned in values.items() for name in self.names.get(index, ())}


def make_weight_table(
    model: Model, names: Mapping[int, tuple[str, ...]] | None = None, exact: Collection[str] = ()
) -> WeightTable:
    """The table of a network with its original weights.

    names: of the file's tensors, see `weight_mapping.tensor_names`.
    exact: tensors that stay as they are.
    """
    names = names or {}
    fixed = {index for index, of_weight in names.items() if not set(exact).isdisjoint(of_weight)}
    ops: dict[int, tuple[Layer, LinearOp]] = {}
    no_kernels: set[int] = set()
    for layer in list_layers(model):
        if type(layer).__name__ in NORMALIZATIONS or getattr(layer, "quantization_mode", None):
            no_kernels |= {id(weight) for weight in layer.weights}
        ops |= {id(op.variable): (layer, op) for op in find_linear_ops(layer)}
    batch_norms = find_batch_norms(model, fixed)
    moving = {id(weight) for layer in batch_norms for weight in (layer.moving_mean, layer.moving_variance)}
    created = {id(weight) for weight in list_created_weights(model)}

    def kind_of(variable: Variable) -> Kind:
        dtype = str(variable.dtype)
        matrix = len(variable.shape) >= 2 and not variable.name.endswith("bias") and id(variable) not in no_kernels
        if matrix and dtype in FLOATS:
            return "kernel"
        if id(variable) in moving:
            return "statistic"
        return "vector" if id(variable) in created and dtype == "float32" else "other"

    weights = (
        Weight(index, variable, kind_of(variable), read_values(variable), *ops.get(id(variable), (None, None)))
        for index, variable in enumerate(model.weights)
        if index not in fixed
    )
    exact_tensors = tuple(sorted(name for index in fixed for name in names[index]))
    return WeightTable(tuple(weights), tuple(batch_norms), names, exact_tensors)


def initial_steps(
    kernels: Sequence[Weight], scale: float, factors: Sequence[float] | None = None, exponent: float = 0.25
) -> dict[int, float]:
    """Steps by index, in units of the weights as a file stores them: `scale` times the rms for the largest kernel.

    Errors add up over kernels, and bytes are proportional to the number of weights, so steps grow with that number to
    the power `exponent`. Kernels without feedback get half of it. 0.0 stands for a kernel of zeros.

    factors: on the steps, if they were measured.
    """
    largest = max((kernel.original.size for kernel in kernels), default=1)
    steps = {}
    for kernel, factor in zip(kernels, factors or itertools.repeat(1.0), strict=False):
        rms = float(np.sqrt(np.square(kernel.original, dtype=np.float64).mean())) if kernel.original.size else 0.0
        wanted = factor * scale * rms * (kernel.original.size / largest) ** exponent * (1.0 if kernel.op else 0.5)
        steps[kernel.index] = round_step(wanted) if wanted > 0 and np.isfinite(wanted) else 0.0
    return steps


def estimate_bytes(levels: npt.NDArray[np.int32]) -> int:
    """An upper estimate of the bytes of the levels in a file: those of the fastest context coder."""
    if not levels.size:
        return 0
    matrix = np.clip(levels, -MAX_LEVEL, MAX_LEVEL).reshape(-1, levels.shape[-1])
    return len(context.encode(np.ascontiguousarray(matrix.T[:, :, None]), effort="fast"))
