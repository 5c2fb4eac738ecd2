"""Recurrent layers: unit j is column j of every gate, and row j of the recurrent kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wcodec.structure.activations import mixes
from wcodec.structure.flow import Flow, LayerCall
from wcodec.structure.units import Units

if TYPE_CHECKING:
    from keras import Layer

Rule = Callable[[LayerCall], list[Flow]]


def recurrent(call: LayerCall) -> list[Flow]:
    """SimpleRNN, GRU, LSTM, with input and output states."""
    layer = call.layer
    x, *states = call.flows
    if layer.stateful or mixes(layer) or len(call.flows) != 1 + len([f for f in states if len(f.shape) == 2]):
        return call.plain()
    units = _follow_cell(call, layer, x)
    for state in states:
        call.table.join(units, call.units_at(state, 1), f"{call.name}, as its state")
    return [Flow(shape, len(shape) - 1, units) for shape in call.shapes]


def bidirectional(call: LayerCall) -> list[Flow]:
    """Two layers whose units are joined pair by pair.

    Keras gives the outputs of `concat` twice the width of the forward layer, so both must keep as many units.
    """
    layer = call.layer
    inner = [(layer.forward_layer, "layer"), (layer.backward_layer, "backward_layer")]
    known = all(type(one).__name__ in ("LSTM", "GRU", "SimpleRNN") and not mixes(one) for one, _ in inner)
    if not known or len(call.flows) > 1 or len(call.shapes) > 1 or layer.forward_layer.stateful:
        return call.plain()
    (x,) = call.flows
    there, back = (
        _follow_cell(replace(call, layer=one, path=(*call.path, key, "config")), one, x) for one, key in inner
    )
    call.table.join(there, back, call.name)
    shape = call.shapes[0]
    units = np.concatenate([there, back]) if layer.merge_mode == "concat" else there
    return [Flow(shape, len(shape) - 1, units)]


def time_distributed(call: LayerCall, rule_of: Callable[[Layer], Rule | None]) -> list[Flow]:
    """The inner layer at every step."""
    inner, (x,) = call.layer.layer, call.flows
    rule = rule_of(inner)
    if rule is None or x.axis < 2:
        return call.plain()
    without = Flow((x.shape[0], *x.shape[2:]), x.axis - 1, x.units)
    shapes = tuple((shape[0], *shape[2:]) for shape in call.shapes)
    before = len(call.steps)
    found = rule(
        replace(call, layer=inner, args=(without,), named={}, shapes=shapes, path=(*call.path, "layer", "config"))
    )
    del call.steps[before:]
    times = float(x.shape[1] or 1) - 1
    for variable in inner.weights:
        if id(variable) in call.table.positions:
            call.table.work(variable, call.table.positions[id(variable)] * times)
    return [Flow(shape, one.axis + 1, one.units) for shape, one in zip(call.shapes, found, strict=True)]


def _follow_cell(call: LayerCall, layer: Layer, x: Flow) -> Units:
    """The units of one cell, and their positions."""
    cell = layer.cell
    units = call.fresh("out", cell.units)
    gates = cell.kernel.shape[-1] // cell.units
    call.index(cell.kernel, 0, call.units_at(x, -1), "in")
    call.index(cell.kernel, 1, np.tile(units, gates), "out")
    call.index(cell.recurrent_kernel, 0, units, "in")
    call.index(cell.recurrent_kernel, 1, np.tile(units, gates), "out")
    if cell.bias is not None:
        call.index(cell.bias, -1, np.tile(units, gates), "out")
    call.size(("units",), units)
    for kernel in (cell.kernel, cell.recurrent_kernel):
        call.table.work(kernel, float(x.shape[1] or 1))
    return units
