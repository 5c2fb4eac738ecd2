"""Normalisation by statistics over units: of all units of an example, or of groups of neighbouring ones."""

from __future__ import annotations

import numpy as np

from wcodec.structure.flow import Flow, LayerCall


def over_units(call: LayerCall) -> list[Flow]:
    """LayerNormalization, RMSNormalization, UnitNormalization: the units that are kept change with those that are not.

    They are followed only where removal need not be exact; the layers behind are fitted to what comes out then.
    """
    layer, (x,) = call.layer, call.flows[:1]
    if x.is_plain or call.table.is_exact:
        return call.plain()
    if call.shapes[0] != x.shape or not _is_only_over(layer, x):
        return call.plain()
    return _pass_units(call, x)


def by_groups(call: LayerCall) -> list[Flow]:
    """GroupNormalization: whole groups are removed, which changes no other group; with one group see `over_units`."""
    layer, x = call.layer, call.flows[0]
    count, axis = len(x.units), layer.axis % len(x.shape)
    groups = count if layer.groups == -1 else layer.groups
    if x.is_plain or axis != x.axis or count % max(groups, 1) or call.shapes[0] != x.shape:
        return call.plain()
    if groups == 1:
        return call.plain() if call.table.is_exact else _pass_units(call, x)
    first = x.units.reshape(groups, -1)[:, :1]
    if groups < count:
        for unit in x.units.reshape(groups, -1)[:, 1:].T:
            call.table.join(first[:, 0], unit, call.name)
    if layer.groups != -1:
        call.size(("groups",), first[:, 0].copy())
    return _pass_units(call, x)


def _is_only_over(layer: object, x: Flow) -> bool:
    """Whether the statistics are those of the units alone, or there are none of other axes."""
    axes = getattr(layer, "axis", -1)
    return [axis % len(x.shape) for axis in (axes if isinstance(axes, list | tuple) else (axes,))] == [x.axis]


def _pass_units(call: LayerCall, x: Flow) -> list[Flow]:
    """Gain and offset are indexed by the units; what the layer makes of constants is not known."""
    for variable in call.layer.weights:
        if tuple(variable.shape) == (len(x.units),):
            call.index(variable, 0, x.units, "scale")
    target = Flow(call.shapes[0], x.axis, x.units)
    return [call.transfer(target, lambda values: np.full_like(values[0], np.nan), "")]
