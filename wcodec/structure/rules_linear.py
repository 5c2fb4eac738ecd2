"""Layers that multiply by a kernel: the axes that read units, and the axes that compute units."""

from __future__ import annotations

import math

import numpy as np

from wcodec.structure.activations import mixes
from wcodec.structure.flow import Flow, LayerCall, Linear, channel_axis, nothing
from wcodec.structure.units import Units


def dense(call: LayerCall) -> list[Flow]:
    """Kernel [inputs, units]."""
    layer, (x,) = call.layer, call.flows
    if getattr(layer, "lora_enabled", False):
        return call.plain()
    read, made = call.units_at(x, -1), call.fresh("out", layer.units)
    call.index(layer.kernel, 0, read, "in")
    call.index(layer.kernel, 1, made, "out")
    if layer.use_bias:
        call.index(layer.bias, 0, made, "out")
    call.size(("units",), made)
    return [_follow_linear(call, x, made, len(call.shapes[0]) - 1, reads=0, writes=1, is_local=True)]


def conv(call: LayerCall) -> list[Flow]:
    """Kernel [..., channels / groups, filters]; with several groups, whole groups are removed."""
    layer, (x,) = call.layer, call.flows
    if getattr(layer, "lora_enabled", False):
        return call.plain()
    axis, rank = channel_axis(layer, len(x.shape)), len(layer.kernel.shape)
    read, made = call.units_at(x, axis), call.fresh("out", layer.filters)
    if layer.groups > 1:
        _join_groups(call, read, made)
    else:
        call.index(layer.kernel, rank - 2, read, "in")
    call.index(layer.kernel, rank - 1, made, "out")
    if layer.use_bias:
        call.index(layer.bias, 0, made, "out")
    call.size(("filters",), made)
    call.table.work(layer.kernel, _count_positions(call, axis))
    is_local = layer.padding == "valid" and layer.groups == 1
    reads = rank - 2 if layer.groups == 1 else rank - 1
    if layer.groups > 1:
        return [_freeze_if_mixed(call, Flow(call.shapes[0], axis, made))]
    return [_follow_linear(call, x, made, axis, reads=reads, writes=rank - 1, is_local=is_local, work=False)]


def conv_transposed(call: LayerCall) -> list[Flow]:
    """Kernel [..., filters, channels]."""
    layer, (x,) = call.layer, call.flows
    axis, rank = channel_axis(layer, len(x.shape)), len(layer.kernel.shape)
    read, made = call.units_at(x, axis), call.fresh("out", layer.filters)
    call.index(layer.kernel, rank - 1, read, "in")
    call.index(layer.kernel, rank - 2, made, "out")
    if layer.use_bias:
        call.index(layer.bias, 0, made, "out")
    call.size(("filters",), made)
    sizes = [size or 1 for size in x.shape[1:]]
    sizes.pop(axis - 1)
    call.table.work(layer.kernel, math.prod(sizes))
    return [_follow_linear(call, x, made, axis, reads=rank - 1, writes=rank - 2, is_local=False, work=False)]


def depthwise(call: LayerCall) -> list[Flow]:
    """Kernel [..., channels, multiplier]; output c * multiplier + m is joined with input c."""
    layer, (x,) = call.layer, call.flows
    axis, rank = channel_axis(layer, len(x.shape)), len(layer.kernel.shape)
    read = call.units_at(x, axis)
    made = np.repeat(read, layer.depth_multiplier)
    call.index(layer.kernel, rank - 2, read, "scale")
    if layer.use_bias:
        call.index(layer.bias, 0, made, "scale")
    call.table.work(layer.kernel, _count_positions(call, axis))
    if layer.depth_multiplier > 1:
        return [_freeze_if_mixed(call, Flow(call.shapes[0], axis, made))]
    is_local = layer.padding == "valid"
    return [_follow_linear(call, x, made, axis, reads=rank - 2, writes=rank - 2, is_local=is_local, work=False)]


def separable(call: LayerCall) -> list[Flow]:
    """A depthwise kernel, then a pointwise one [..., channels * multiplier, filters]."""
    layer, (x,) = call.layer, call.flows
    axis, rank = channel_axis(layer, len(x.shape)), len(layer.pointwise_kernel.shape)
    read, made = call.units_at(x, axis), call.fresh("out", layer.filters)
    call.index(layer.depthwise_kernel, rank - 2, read, "scale")
    call.index(layer.pointwise_kernel, rank - 2, np.repeat(read, layer.depth_multiplier), "in")
    call.index(layer.pointwise_kernel, rank - 1, made, "out")
    if layer.use_bias:
        call.index(layer.bias, 0, made, "out")
    call.size(("filters",), made)
    for kernel in (layer.depthwise_kernel, layer.pointwise_kernel):
        call.table.work(kernel, _count_positions(call, axis))
    target = _freeze_if_mixed(call, Flow(call.shapes[0], axis, made))
    if layer.depth_multiplier > 1:
        return [target]
    between = Flow(x.shape, axis, read)
    call.steps.append(
        Linear(layer, x, between, layer.depthwise_kernel, rank - 2, rank - 2, None, layer.padding == "valid", False)
    )
    call.steps.append(
        Linear(layer, between, target, layer.pointwise_kernel, rank - 2, rank - 1, layer.bias, is_local=True)
    )
    return [target]


def embedding(call: LayerCall) -> list[Flow]:
    """A table [words, units]; its words are frozen. If it is used in reverse (tied weights) it reads its own units."""
    layer, x = call.layer, call.flows[0]
    if getattr(layer, "lora_enabled", False):
        return call.plain()
    made = call.fresh("out", layer.output_dim)
    if call.named.get("reverse") or call.args[1:2] == (True,):
        if not getattr(layer, "tie_weights", False):
            return call.plain()
        call.table.join(made, call.units_at(x, -1), call.name)
        return [Flow(call.shapes[0], len(call.shapes[0]) - 1, nothing(layer.input_dim))]
    call.table.freeze(x.units, call.name)
    call.index(layer.embeddings, 1, made, "out")
    call.size(("output_dim",), made)
    if getattr(layer, "tie_weights", True) is False:
        call.table.freeze(made, call.name)
    return [Flow(call.shapes[0], len(call.shapes[0]) - 1, made)]


def einsum(call: LayerCall) -> list[Flow]:
    """Units are the last letter of the output that only the kernel has; a letter of all three scales its units."""
    layer, (x,) = call.layer, call.flows
    operands, _, result = layer.equation.replace(" ", "").partition("->")
    given, _, weight = operands.partition(",")
    rank, out_rank = len(x.shape), len(call.shapes[0])
    dots = "".join(chr(0x100 + i) for i in range(rank - len(given.replace("...", ""))))
    given, result = given.replace("...", dots), result.replace("...", dots)
    if getattr(layer, "lora_enabled", False) or len(given) != rank or len(result) != out_rank or "..." in weight:
        return call.plain()
    letter = given[x.axis]
    axes = {name: weight.index(name) for name in weight}
    in_result = [result.index(name) for name in result if name in weight]
    call.table.work(layer.kernel, math.prod(s or 1 for i, s in enumerate(call.shapes[0]) if i and i not in in_result))
    if letter in axes:
        call.index(layer.kernel, axes[letter], x.units, "scale" if letter in result else "in")
    if not x.is_plain and letter in result:
        at, made = result.index(letter), x.units
    else:
        own = [name for name in result if name in weight and name not in given]
        if not own:
            return call.plain()
        at = result.index(own[-1])
        made = call.fresh("out", layer.kernel.shape[axes[own[-1]]])
        call.index(layer.kernel, axes[own[-1]], made, "out")
    if layer.bias is not None:
        bias_axis = at - (out_rank - len(layer.bias.shape))
        if bias_axis >= 0 and layer.bias.shape[bias_axis] == len(made):
            call.index(layer.bias, bias_axis, made, "scale" if made is x.units else "out")
    is_whole = isinstance(layer.get_config()["output_shape"], int)
    call.size(("output_shape",) if is_whole else ("output_shape", at - out_rank), made)
    target = _freeze_if_mixed(call, Flow(call.shapes[0], at, made))
    is_matrix = letter in axes and letter not in result and len(weight) == 2 and out_rank - at == 1
    if is_matrix and (layer.bias is None or len(layer.bias.shape) == 1):
        axis, has_bias = axes[letter], layer.bias is not None
        call.steps.append(Linear(layer, x, target, layer.kernel, axis, 1 - axis, layer.bias, is_local=has_bias))
    return [target]


def _join_groups(call: LayerCall, read: Units, made: Units) -> None:
    """A group of a convolution is one unit: the channels that it reads, and its filters."""
    groups, why = call.layer.groups, f"{call.name}, by groups"
    inputs, outputs = read.reshape(groups, -1), made.reshape(groups, -1)
    for group_in, group_out in zip(inputs, outputs, strict=True):
        for group in (group_in, group_out):
            call.table.join(np.full(len(group), group_out[0]), group, why)
    call.size(("groups",), outputs[:, 0])


def _count_positions(call: LayerCall, axis: int) -> float:
    """The number of outputs of each filter for an example."""
    sizes = [size or 1 for size in call.shapes[0][1:]]
    sizes.pop(axis - 1)
    return math.prod(sizes)


def _follow_linear(
    call: LayerCall, x: Flow, made: Units, axis: int, *, reads: int, writes: int, is_local: bool, work: bool = True
) -> Flow:
    layer, target = call.layer, _freeze_if_mixed(call, Flow(call.shapes[0], axis, made))
    if work:
        call.table.work(layer.kernel, _count_positions(call, axis))
    bias = layer.bias if layer.use_bias else None
    call.steps.append(Linear(layer, x, target, layer.kernel, reads, writes, bias, is_local))
    return target


def _freeze_if_mixed(call: LayerCall, target: Flow) -> Flow:
    """`target`; frozen if the layer's activation combines several units."""
    if mixes(call.layer):
        call.table.freeze(target.units, call.name)
    return target
