"""Layers with several inputs: sums and products join units by position, concatenation appends them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wcodec.evaluation.keras_backend import keras
from wcodec.structure.flow import Flow, LayerCall, Values, nothing
from wcodec.structure.units import Units


def merge(call: LayerCall) -> list[Flow]:
    """Add, Subtract, Multiply, Maximum, Minimum, Average: the last axes are aligned, and size 1 is broadcast."""
    flows, shape = call.flows, call.shapes[0]
    if len({len(flow.shape) for flow in flows}) > 1:
        return call.plain()
    followed = [flow for flow in flows if not flow.is_plain]
    axes = {flow.axis for flow in followed if flow.shape[flow.axis] == shape[flow.axis]}
    if len(axes) != 1:
        return call.plain()
    (axis,) = axes
    units: Units | None = None
    for flow in flows:
        if flow.shape[axis] != shape[axis]:
            call.table.freeze(flow.units, call.name)
            continue
        here = call.units_at(flow, axis)
        if units is None:
            units = here
        elif not np.array_equal(units, here):
            call.table.join(units, here, f"{call.name}, beside what cannot be removed")
    target = Flow(shape, axis, nothing(shape[axis]) if units is None else units)
    return [call.transfer(target, lambda values: _apply_to_constants(call, target, values), "")]


def concatenate(call: LayerCall) -> list[Flow]:
    """Along the axis of the units they are appended; along another axis they are joined."""
    flows, shape = call.flows, call.shapes[0]
    along = call.layer.axis % len(shape)
    followed = {flow.axis for flow in flows if not flow.is_plain}
    if not followed:
        return call.plain()
    if followed != {along}:
        axis = followed.pop()
        if followed or any(flow.shape[axis] != shape[axis] for flow in flows):
            return call.plain()
        first, *others = (call.units_at(flow, axis) for flow in flows)
        for other in others:
            call.table.join(first, other, f"{call.name}, beside what cannot be removed")
        return [Flow(shape, axis, first)]
    if shape[along] is None:
        return call.plain()
    sizes = [flow.shape[along] or 0 for flow in flows]
    units = [call.units_at(flow, along) for flow in flows]
    target = Flow(shape, along, np.concatenate(units))

    def side_by_side(values: Sequence[Values]) -> Values:
        at = [v if len(v) == size else np.full(size, np.nan) for v, size in zip(values, sizes, strict=True)]
        return np.concatenate(at)

    return [call.transfer(target, side_by_side)]


def arithmetic(call: LayerCall) -> list[Flow]:
    """`x + y` and similar operations in a functional model; with a single number each unit is independent."""
    others = [one for one in keras().tree.flatten((call.args, call.named)) if one is not None]
    flows = call.flows
    if len(flows) == 2 and len(others) == 2:
        (found,) = merge(call)
        return [Flow(found.shape, found.axis, found.units)]
    if len(flows) == 1 and all(isinstance(one, Flow | int | float) for one in others):
        return [Flow(call.shapes[0], flows[0].axis, flows[0].units)]
    return call.plain()


def _apply_to_constants(call: LayerCall, target: Flow, values: Sequence[Values]) -> Values:
    """Apply the layer's arithmetic to constant values. (0 times anything is 0 too, but this is not used.)"""
    count = len(target.units)
    if not hasattr(call.layer, "_merge_function") or any(len(one) != count for one in values):
        return np.full(count, np.nan)
    shape = [1] * len(target.shape)
    shape[target.axis] = count
    ops = keras().ops
    given = [ops.convert_to_tensor(np.nan_to_num(one).reshape(shape).astype(np.float32)) for one in values]
    found = ops.convert_to_numpy(call.layer(given)).astype(np.float64).reshape(-1)
    return np.where(np.isnan(np.stack(values)).any(axis=0), np.nan, found)
