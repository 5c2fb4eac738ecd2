"""The dependency graph of a Keras network: one walk from its inputs finds every unit and the weights that store it.

It follows DepGraph (Fang et al. 2023), on the nodes of functional and sequential models instead of those of autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.errors import UnsupportedError
from wcodec.evaluation.keras_backend import keras
from wcodec.structure.flow import Flow, LayerCall, Step, plain
from wcodec.structure.rules import rule_of
from wcodec.structure.units import NONE, ConfigSize, Units, UnitTable, WeightAxis

if TYPE_CHECKING:
    from keras import Layer, Model, Variable

Mask = npt.NDArray[np.bool_]
"""For each unit, whether it is kept."""


@dataclass(frozen=True)
class Graph:
    """The units of a network.

    count:     the number of units, which are numbered 0..count - 1.
    weights:   axes of weights that are indexed by units, in the order in which the network uses them.
    sizes:     numbers in configurations that count units.
    steps:     the layers in order, for constant values.
    frozen:    the reason why a unit stays.
    positions: by id of a variable, the number of multiplications with each weight for one example.
    numbers:   the numbers of the units in the steps' flows, before they were joined.
    rescaled:  weights that change with the number of these units that are kept.
    """

    model: Model
    count: int
    weights: tuple[WeightAxis, ...]
    sizes: tuple[ConfigSize, ...]
    steps: tuple[Step, ...]
    frozen: dict[int, str]
    positions: dict[int, float]
    numbers: Units
    rescaled: tuple[tuple[Variable, Units], ...]

    @cached_property
    def axes_of(self) -> dict[int, list[WeightAxis]]:
        """By id of a variable, its axes."""
        found: dict[int, list[WeightAxis]] = {}
        for one in self.weights:
            found.setdefault(id(one.variable), []).append(one)
        return found

    @cached_property
    def removable(self) -> Mask:
        """bool[count]: units that no rule froze."""
        mask = np.ones(self.count, bool)
        mask[list(self.frozen)] = False
        return mask

    @cached_property
    def groups(self) -> list[Units]:
        """Groups of units that the same weights compute. Frozen units are included."""
        makers: dict[int, set[int]] = {}
        for number, one in enumerate(self.weights):
            if one.role == "out":
                for unit in np.unique(one.units[one.units != NONE]).tolist():
                    makers.setdefault(unit, set()).add(number)
        found: dict[tuple[int, ...], list[int]] = {}
        for unit, numbers in sorted(makers.items()):
            found.setdefault(tuple(sorted(numbers)), []).append(unit)
        return [np.array(units, np.intp) for units in found.values()]


def trace(model: Model, *, is_exact: bool = True) -> Graph:
    """The units of a functional or sequential network.

    is_exact: see `UnitTable`.
    Raises: UnsupportedError for a network of a custom class, whose layers are unknown.
    """
    if not _is_followed(model):
        raise UnsupportedError(f"{model.name}: expected a functional or sequential model, got {type(model).__name__}")
    table = UnitTable(is_exact=is_exact)
    steps: list[Step] = []
    inputs = [plain(tuple(x.shape)) for x in model.inputs]
    for flow in _walk(model, inputs, table, steps):
        table.freeze(flow.units, "the network's output", overrides=True)
    return _renumber(model, table, steps)


def _is_followed(model: Layer) -> bool:
    """Whether the network is made of known layers. A custom class derived from Model may add others."""
    return type(model).__name__ in ("Functional", "Sequential") or (
        type(model) is keras().Model and bool(getattr(model, "_nodes_by_depth", None))
    )


def _walk(model: Model, inputs: list[Flow], table: UnitTable, steps: list[Step]) -> list[Flow]:
    """The network's outputs. A nested network is walked at each of its calls."""
    functional = model._functional if type(model).__name__ == "Sequential" else model
    known = {id(x): flow for x, flow in zip(functional.inputs, inputs, strict=True)}
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            if node.is_input or all(id(x) in known for x in node.outputs):
                continue
            args, named = node.arguments.fill_in(known)
            shapes = tuple(tuple(x.shape) for x in node.outputs)
            layer = node.operation
            call = LayerCall(layer, args, named, shapes, table, steps, layer)
            found = _call(call, table, steps)
            known |= {id(x): flow for x, flow in zip(node.outputs, found, strict=True)}
    return [known[id(x)] for x in functional.outputs]


def _call(call: LayerCall, table: UnitTable, steps: list[Step]) -> list[Flow]:
    if _is_followed(call.layer) and len(call.flows) == len(call.layer.inputs):
        _resize_inputs(call, table)
        return _walk(call.layer, call.flows, table, steps)
    rule = rule_of(call.layer)
    found = call.plain() if rule is None else rule(call)
    for flow in found:
        if flow.shape and flow.shape[flow.axis] not in (None, len(flow.units)):
            raise UnsupportedError(f"{call.name}: expected {flow.shape[flow.axis]} units, followed {len(flow.units)}")
    return found


def _resize_inputs(call: LayerCall, table: UnitTable) -> None:
    """A nested network declares the shapes of its inputs, which change with the number of their units."""
    model = call.layer
    functional = model._functional if type(model).__name__ == "Sequential" else model
    for flow, x in zip(call.flows, functional.inputs, strict=True):
        table.size(x._keras_history.operation, ("batch_shape", flow.axis), flow.units)


def _renumber(model: Model, table: UnitTable, steps: list[Step]) -> Graph:
    """Give joined units one number, without gaps, in the order in which they were made."""
    every = table.roots(np.arange(len(table.parents), dtype=np.intp))
    roots, numbers = np.unique(every, return_inverse=True)
    lookup = np.append(numbers.reshape(-1), NONE)

    def number_units(units: Units) -> Units:
        return lookup[units]

    weights = [WeightAxis(w.variable, w.axis, number_units(w.units), w.role, w.layer) for w in table.weights.values()]
    sizes = [ConfigSize(s.layer, s.path, number_units(s.units)) for s in table.sizes.values()]
    return Graph(
        model=model,
        count=len(roots),
        weights=tuple(weights),
        sizes=tuple(sizes),
        steps=tuple(steps),
        frozen={int(lookup[unit]): why for unit, why in table.frozen.items()},
        positions=dict(table.positions),
        numbers=lookup,
        rescaled=tuple((variable, number_units(units)) for variable, units in table.rescaled),
    )
