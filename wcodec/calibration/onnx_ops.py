"""The weights of an ONNX model, and its operators as linear operations. https://onnx.ai/onnx/operators/"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.linear_ops import (
    Float32,
    InputRows,
    LinearOp,
    extract_channels_first,
    extract_patches,
    sample_rows,
)
from wcodec.calibration.quantizable_weights import Weight, WeightTable
from wcodec.codec.statistics import is_weight
from wcodec.evaluation.keras_backend import Arguments
from wcodec.evaluation.onnx_backend import OnnxLayer, OnnxRunner, OnnxWeight
from wcodec.model import Model as ModelFile
from wcodec.model import is_vector

if TYPE_CHECKING:
    from onnx import NodeProto


PLAIN: Final = frozenset({"Add", "Concat", "ConvTranspose", "Conv", "Gather", "GRU", "LSTM", "Mul", "PRelu", "RNN"})
"""Operators whose weights are rounded without feedback if no linear operation is found."""
PASSING: Final = frozenset({"Identity", "Transpose"})


@dataclass(frozen=True)
class _Use:
    """An operator with a weight as its input number `place`, with the axes in the order `axes`."""

    node: NodeProto
    place: int
    axes: tuple[int, ...]


def make_onnx_table(runner: OnnxRunner, file: ModelFile, exact: Collection[str]) -> WeightTable:
    """The table of a network with its original weights. exact: tensors of the file that stay as they are.

    The inputs of the operations are added to the values that the runner observes.
    """
    specs = {tensor.name: tensor for tensor in file.tensors}
    fixed = set(exact) | {tensor.name for tensor in file.tensors if tensor.exact}
    uses = _find_uses(runner)
    layers: dict[tuple[int, tuple[str, ...]], OnnxLayer] = {}
    names: dict[int, tuple[str, ...]] = {}
    weights = []
    for index, variable in enumerate(runner.weights):
        spec = specs.get(variable.path)
        if spec is None or spec.shape != variable.shape or spec.dtype != variable.dtype:
            continue
        names[index] = (spec.name,)
        found = uses.get(variable.path, [])
        if variable.path in fixed or not found:
            continue
        if is_vector(spec):
            spread = any(use.node.op_type == "BatchNormalization" and use.place == 4 for use in found)
            weights.append(Weight(index, variable, "other" if spread else "vector", variable.read(), None, None))
            continue
        use, matched = next(((use, one) for use in found if (one := _match_linear(variable, use))), (found[0], None))
        if matched is None and not {use.node.op_type for use in found} <= PLAIN:
            continue
        layer = op = None
        if matched:
            values, rows, order, inputs = matched
            op = LinearOp(variable, rows, order, inputs)
            layer = layers.setdefault((id(use.node), values), OnnxLayer(values))
            runner.watched.update(value for value in values if value)
        weights.append(Weight(index, variable, "kernel", variable.read(), layer, op, names[index]))
    followed = {name for one in weights for name in names[one.index]} | fixed
    missed = tuple(t.name for t in file.tensors if is_weight(t) and t.name not in followed)
    return WeightTable(tuple(weights), (), names, tuple(sorted(set(exact))), missed)


def _find_uses(runner: OnnxRunner) -> Mapping[str, list[_Use]]:
    """The operators that use each weight, also through transposes."""
    origins: dict[str, tuple[str, tuple[int, ...]]] = {
        one.path: (one.path, tuple(range(len(one.shape)))) for one in runner.weights
    }
    uses: dict[str, list[_Use]] = {}
    for node in runner.nodes:
        for place, value in enumerate(node.input):
            if value not in origins:
                continue
            name, axes = origins[value]
            if node.op_type in PASSING:
                turn = _read_ints(node, "perm") or tuple(reversed(range(len(axes))))
                turned = tuple(axes[axis] for axis in turn) if node.op_type == "Transpose" else axes
                origins[node.output[0]] = (name, turned)
            else:
                uses.setdefault(name, []).append(_Use(node, place, axes))
    return uses


_Match = tuple[tuple[str, ...], InputRows, tuple[int, ...], int]
"""The values to observe, the rows from them, the order of the weight's axes, and how many of these are inputs."""


def _match_linear(weight: OnnxWeight, use: _Use) -> _Match | None:
    node, axes = use.node, use.axes
    match node.op_type:
        case "MatMul" if len(axes) == 2 and use.place == 1:
            return (node.input[0],), _sample_last_axis, axes, 1
        case "MatMul" if len(axes) == 2:
            return (node.input[1],), _sample_last_but_one, axes[::-1], 1
        case "Gemm" if use.place == 1:
            rows = _sample_transposed if _read_int(node, "transA") else _sample_last_axis
            return (node.input[0],), rows, axes[::-1] if _read_int(node, "transB") else axes, 1
        case "Conv" if use.place == 1 and _read_int(node, "group", 1) == 1 and axes == tuple(range(len(axes))):
            return _match_conv(weight, node)
        case "LSTM" | "GRU" | "RNN" if use.place in (1, 2) and axes == (0, 1, 2) and not _read_int(node, "layout"):
            return _match_recurrent(weight, node, use.place)
    return None


def _match_conv(weight: OnnxWeight, node: NodeProto) -> _Match | None:
    auto, dims = _read_text(node, "auto_pad", "NOTSET"), len(weight.shape) - 2
    if auto not in ("NOTSET", "VALID", "SAME_UPPER"):
        return None
    pads = _read_ints(node, "pads") or (0,) * (2 * dims)
    strides, gaps = _read_ints(node, "strides") or (1,) * dims, _read_ints(node, "dilations") or (1,) * dims

    def rows(given: Arguments, most: int, rng: np.random.Generator) -> Float32:
        if auto == "SAME_UPPER":
            images = np.moveaxis(_to_array(given[0]), 1, -1)
            return extract_patches(images, weight.shape[2:], strides, gaps, "same", most, rng)
        both = list(zip(pads[:dims], pads[dims:], strict=True))
        return extract_channels_first(_to_array(given[0]), weight.shape[2:], strides, gaps, both, most, rng)

    return (node.input[0],), rows, (*range(2, dims + 2), 1, 0), dims + 1


def _match_recurrent(weight: OnnxWeight, node: NodeProto, place: int) -> _Match | None:
    """W multiplies the inputs of every step, and R the states before every step."""
    if place == 1:
        return (node.input[0],), _sample_last_axis, (2, 0, 1), 1
    outputs = node.output[0] if node.output else ""
    initial = node.input[5] if len(node.input) > 5 else ""
    direction = _read_text(node, "direction", "forward")
    if weight.shape[0] != 1 or not (outputs or initial):
        return None
    backward = direction == "reverse"

    def rows(given: Arguments, most: int, rng: np.random.Generator) -> Float32:
        parts = [] if given[2] is None else [_to_array(given[2]).reshape(-1, weight.shape[2])]
        if given[1] is not None:
            steps = _to_array(given[1])
            parts.append((steps[1:] if backward else steps[:-1]).reshape(-1, weight.shape[2]))
        return sample_rows(np.concatenate(parts), most, rng)

    return (node.input[0], outputs, initial), rows, (2, 0, 1), 1


def _to_array(value: object) -> Float32:
    return np.asarray(value, np.float32)


def _sample_last_axis(given: Arguments, most: int, rng: np.random.Generator) -> Float32:
    return sample_rows(_to_array(given[0]), most, rng)


def _sample_last_but_one(given: Arguments, most: int, rng: np.random.Generator) -> Float32:
    return sample_rows(np.moveaxis(_to_array(given[0]), -2, -1), most, rng)


def _sample_transposed(given: Arguments, most: int, rng: np.random.Generator) -> Float32:
    return sample_rows(_to_array(given[0]).T, most, rng)


def _read_int(node: NodeProto, name: str, default: int = 0) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), default)


def _read_ints(node: NodeProto, name: str) -> tuple[int, ...]:
    return next((tuple(one.ints) for one in node.attribute if one.name == name), ())


def _read_text(node: NodeProto, name: str, default: str) -> str:
    return next((one.s.decode() for one in node.attribute if one.name == name), default)
