"""The weights of a PyTorch module, and the linear operations in which a run uses them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.linear_ops import Float32, InputRows, LinearOp, extract_channels_first, sample_rows
from wcodec.calibration.quantizable_weights import Kind, Weight, WeightTable
from wcodec.codec.statistics import is_weight
from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import Arguments
from wcodec.evaluation.torch_backend import (
    CONVOLUTION,
    PRODUCTS,
    TorchLayer,
    TorchRunner,
    TorchWeight,
    list_norms,
    storage_of,
)
from wcodec.model import Model as ModelFile
from wcodec.model import TensorSpec, is_vector

if TYPE_CHECKING:
    from torch import Tensor


PLAIN: Final = frozenset({"aten::add", "aten::convolution", "aten::embedding", "aten::index_select", "aten::mul"})
"""Operators whose weights are rounded without feedback if no linear operation is found."""


@dataclass
class _Seen:
    """The use of a weight in a run: its linear operation, or only that an operator of PLAIN takes it."""

    op: LinearOp | None = None
    plain: bool = False


def make_torch_table(
    runner: TorchRunner, file: ModelFile, exact: Collection[str], few: tuple[Array, ...]
) -> WeightTable:
    """The table of a module with its original weights.

    exact: tensors of the file that stay as they are.
    few:   inputs by which its operations are found.
    """
    specs = {tensor.name: tensor for tensor in file.tensors}
    fixed = set(exact) | {tensor.name for tensor in file.tensors if tensor.exact}
    seen = _find_ops(runner, few)
    norms = [
        one for one in list_norms(runner) if fixed.isdisjoint((*one.moving_mean.names, *one.moving_variance.names))
    ]
    moving = {id(weight) for one in norms for weight in (one.moving_mean, one.moving_variance)}
    names: dict[int, tuple[str, ...]] = {}
    weights = []
    for index, variable in enumerate(runner.weights):
        names[index] = tuple(name for name in variable.names if name in specs)
        if not names[index] or not fixed.isdisjoint(names[index]):
            continue
        kind = _find_kind(variable, moving, seen)
        if kind is None:
            continue
        op = seen[variable.place].op if kind == "kernel" else None
        layer = TorchLayer(variable) if op else None
        weights.append(Weight(index, variable, kind, variable.read(), layer, op, names[index]))
    followed = {name for one in weights for name in names[one.index]} | fixed
    missed = tuple(t.name for t in file.tensors if is_weight(t) and t.name not in followed)
    return WeightTable(tuple(weights), tuple(norms), names, tuple(sorted(set(exact))), missed)


def _find_kind(variable: TorchWeight, moving: Collection[int], seen: Mapping[int, _Seen]) -> Kind | None:
    """The kind of a weight; None for a weight of two or more dimensions that no known operator takes."""
    if id(variable) in moving:
        return "statistic"
    if is_vector(TensorSpec("", "float32", variable.shape)):
        return "vector" if variable.tensor.requires_grad else "other"
    found = seen.get(variable.place)
    return "kernel" if found and (found.op or found.plain) else None


def _find_ops(runner: TorchRunner, few: tuple[Array, ...]) -> Mapping[int, _Seen]:
    """The use of each weight, by its address in memory, when the module is run with these inputs."""
    weights = {one.place: one for one in runner.weights if len(one.shape) > 1}
    seen: dict[int, _Seen] = {}

    def call(name: str, given: Sequence[Tensor]) -> None:
        operands = given[-2:] if name in PRODUCTS else given[:2]
        for place, one in enumerate(operands):
            if (where := storage_of(one)) not in weights:
                continue
            found = seen.setdefault(where, _Seen())
            found.plain |= name in PLAIN
            if name in PRODUCTS and found.op is None:
                found.op = _match_product(weights[where], one, place)
            elif name == CONVOLUTION and place == 1 and found.op is None:
                found.op = _match_convolution(weights[where], given)

    runner.watch(few, call)
    return seen


def _match_product(weight: TorchWeight, view: Tensor, place: int) -> LinearOp | None:
    """The operation of a product in which a view of the weight is operand number `place`."""
    if len(weight.shape) != 2:
        return None
    summed = view.stride()[1 - place]  # the axis of the view that is summed over
    strides = weight.tensor.stride()
    axis = next((axis for axis in (1, 0) if strides[axis] == summed), None)
    if axis is None or weight.shape[axis] != view.shape[1 - place]:
        return None
    return LinearOp(weight, _sample_rows, (axis, 1 - axis), 1)


def _match_convolution(weight: TorchWeight, given: Sequence[object]) -> LinearOp | None:
    """See `torch.ops.aten.convolution`: x, weight, bias, stride, padding, dilation, transposed, ..., groups."""
    strides, pads, gaps, transposed, _, groups = given[3:9]
    if transposed or groups != 1:
        return None
    dims = len(weight.shape) - 2
    strides, pads, gaps = (_repeat_for_dimensions(one, dims) for one in (strides, pads, gaps))

    def rows(x: Arguments, most: int, rng: np.random.Generator) -> Float32:
        both = [(pad, pad) for pad in pads]
        return extract_channels_first(_to_array(x[0]), weight.shape[2:], strides, gaps, both, most, rng)

    found: InputRows = rows
    return LinearOp(weight, found, (*range(2, dims + 2), 1, 0), dims + 1)


def _repeat_for_dimensions(values: object, dims: int) -> tuple[int, ...]:
    """One number for each dimension."""
    numbers = tuple(int(one) for one in values) if isinstance(values, list | tuple) else (int(str(values)),)
    return numbers * dims if len(numbers) == 1 else numbers


def _to_array(value: object) -> Float32:
    return np.asarray(value, np.float32)


def _sample_rows(given: Arguments, most: int, rng: np.random.Generator) -> Float32:
    return sample_rows(_to_array(given[0]), most, rng)
