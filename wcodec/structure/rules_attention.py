"""Attention: units are whole heads, the dimensions of queries and keys, and those of values and output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from wcodec.structure.flow import Flow, LayerCall
from wcodec.structure.units import Units

if TYPE_CHECKING:
    from keras import Layer


def multi_head(call: LayerCall) -> list[Flow]:
    """Kernels [inputs, heads, size] of queries, keys, values, and [heads, size, outputs]."""
    layer = call.layer
    found = _find_inputs(call)
    if found is None or len(found[0].shape) != 3 or len(call.shapes) > 1 or getattr(layer, "_use_gate", False):
        return call.plain()
    query, key, value = found
    heads = call.fresh("heads", layer._num_heads)
    matched, valued = call.fresh("key size", layer._key_dim), call.fresh("value size", layer._value_dim)
    for x, dense, sizes in (
        (query, layer._query_dense, matched), (key, layer._key_dense, matched), (value, layer._value_dense, valued)
    ):  # fmt: skip
        _follow_projection(call, x, dense, heads, sizes)
    made = call.fresh("out", call.shapes[0][-1] or 0)
    output = layer._output_dense
    for axis, units, role in ((0, heads, "in"), (1, valued, "in"), (2, made, "out")):
        call.index(output.kernel, axis, units, "in" if role == "in" else "out")
    if output.bias is not None:
        call.index(output.bias, 0, made, "out")
    call.table.work(output.kernel, _count_steps(query))
    for name, units in (("num_heads", heads), ("key_dim", matched), ("value_dim", valued), ("output_shape", made)):
        call.size((name,), units)
    call.table.rescale(layer._query_dense.kernel, matched)
    if layer._query_dense.bias is not None:
        call.table.rescale(layer._query_dense.bias, matched)
    return [Flow(call.shapes[0], len(call.shapes[0]) - 1, made)]


def grouped_query(call: LayerCall) -> list[Flow]:
    """Several heads of queries share one head of keys and values, and are removed together.

    Outputs are as wide as queries.
    """
    layer = call.layer
    found = _find_inputs(call)
    if found is None or len(call.shapes) > 1:
        return call.plain()
    query, key, value = found
    groups = call.fresh("groups", layer.num_key_value_heads)
    heads = np.repeat(groups, layer.num_query_heads // layer.num_key_value_heads)
    _follow_projection(call, query, layer._query_dense, heads, None)
    _follow_projection(call, key, layer._key_dense, groups, None)
    _follow_projection(call, value, layer._value_dense, groups, None)
    if getattr(layer, "use_gate", False):
        _follow_projection(call, query, layer._gate_dense, heads, None)
    output = layer._output_dense
    made = call.units_at(query, -1)
    call.index(output.kernel, 0, heads, "in")
    call.index(output.kernel, 2, made, "out")
    if output.bias is not None:
        call.index(output.bias, 0, made, "out")
    call.table.work(output.kernel, _count_steps(query))
    call.size(("num_query_heads",), heads)
    call.size(("num_key_value_heads",), groups)
    return [Flow(call.shapes[0], len(call.shapes[0]) - 1, made)]


def dot_product(call: LayerCall) -> list[Flow]:
    """Attention: each number of a query is multiplied by the same one of a key; outputs are those of the values."""
    found = _join_scores(call)
    return call.plain() if found is None or call.layer.score_mode != "dot" else [found[1]]


def additive(call: LayerCall) -> list[Flow]:
    """AdditiveAttention: scores are sums over tanh of a query and a key, each number with a scale of its own."""
    found = _join_scores(call)
    if found is None:
        return call.plain()
    scale = call.layer.scale if call.layer.use_scale else None
    if scale is not None:
        call.index(scale, 0, found[0], "scale")
    return [found[1]]


def _join_scores(call: LayerCall) -> tuple[Units, Flow] | None:
    """The joined units of queries and keys, and the output, which has the units of the values; None if the inputs are
    not followed. The inputs are a list: queries, values and maybe keys.
    """
    flows = call.flows
    if len(flows) not in (2, 3) or len(call.shapes) > 1 or len({len(one.shape) for one in flows}) > 1:
        return None
    given = call.args[0] if len(call.args) == 1 else None
    if not isinstance(given, list | tuple) or len(given) != len(flows):
        return None
    query, value, key = flows[0], flows[1], flows[-1]
    units = call.units_at(query, -1)
    call.table.join(units, call.units_at(key, -1), f"{call.name}, beside what cannot be removed")
    target = Flow(call.shapes[0], len(call.shapes[0]) - 1, call.units_at(value, -1))
    return units, call.transfer(target, lambda values: np.full(len(target.units), np.nan), "")


def _find_inputs(call: LayerCall) -> tuple[Flow, Flow, Flow] | None:
    """The three inputs; None if masks or positions are given as tensors."""
    names = ("query", "value", "key")
    given = dict(zip(names, call.args, strict=False)) | call.named
    flows = [given.get(name) for name in names]
    if flows[2] is None:
        flows[2] = flows[1]
    query, value, key = flows
    if not (isinstance(query, Flow) and isinstance(value, Flow) and isinstance(key, Flow)):
        return None
    if any(isinstance(one, Flow) for name, one in given.items() if name not in names):
        return None
    return query, key, value


def _follow_projection(call: LayerCall, x: Flow, dense: Layer, heads: Units, sizes: Units | None) -> None:
    """One of the kernels that compute heads."""
    kernel, bias = dense.kernel, dense.bias
    call.index(kernel, 0, call.units_at(x, -1), "in")
    call.index(kernel, 1, heads, "out")
    if sizes is not None:
        call.index(kernel, 2, sizes, "out")
    if bias is not None:
        call.index(bias, 0, heads, "out")
        if sizes is not None:
            call.index(bias, 1, sizes, "out")
    call.table.work(kernel, _count_steps(x))


def _count_steps(x: Flow) -> float:
    return math.prod(size or 1 for size in x.shape[1:-1])
