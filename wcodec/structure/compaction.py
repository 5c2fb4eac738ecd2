"""Exact compaction: removal of units without incoming or without outgoing weights. The outputs stay, up to rounding.

A unit whose incoming weights are all zero has the constant value act(b). It is removed, and W[unit] * act(b) is added
to the next bias. A unit whose outgoing weights are all zero is removed without a change elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.structure.constants import constants_of, find_constants, matrix_of, values_of
from wcodec.structure.flow import Linear, Values
from wcodec.structure.graph import Graph, Mask, trace
from wcodec.structure.rebuild import keeps, with_biases, without
from wcodec.structure.units import NONE, WeightAxis

if TYPE_CHECKING:
    from keras import Model

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Compacted:
    """The network without its dead units.

    removed, removable: the number of removed units, and of units that no rule froze.
    graph, kept:        the network from which the units were removed (with added biases where they were missing), and
                        bool[graph.count], the kept units.
    """

    model: Model
    removed: int
    removable: int
    graph: Graph
    kept: Mask


def compact(model: Model, *, folds: bool = True) -> Compacted:
    """The network without dead units; the same network if there are none.

    folds: remove also units with a constant value other than zero, which is added to the next bias.
    Raises: UnsupportedError if no part of the network can be followed.
    """
    graph = trace(model)
    constants = constants_of(graph)
    if not folds:
        constants = {flow: np.where(values == 0, 0.0, np.nan) for flow, values in constants.items()}
    kept = alive(graph, constants)
    removable = int(graph.removable.sum())
    if kept.all():
        return Compacted(model, 0, removable, graph, kept)
    missing = {step.layer.name for step, _ in _find_folds(graph, constants, kept) if step.bias is None}
    if missing:
        graph = trace(with_biases(model, frozenset(missing)))
        constants = constants_of(graph)
        kept = alive(graph, constants)
    values: dict[int, npt.NDArray[np.float64]] = {}
    for step, moved in _find_folds(graph, constants, kept):
        before = values.get(id(step.bias), values_of(step.bias))
        values[id(step.bias)] = before + moved
    typed = {id(v): values[id(v)].astype(v.numpy().dtype) for v in graph.model.weights if id(v) in values}
    return Compacted(without(graph, kept, typed), int((~kept).sum()), removable, graph, kept)


def alive(graph: Graph, constants: dict[int, Values]) -> Mask:
    """bool[graph.count]: the units that are needed for the same outputs. One position of every axis is kept."""
    kept = np.ones(graph.count, bool)
    readers = [one for one in graph.weights if one.role == "in"]
    folded = [_find_foldable(graph, one, constants) for one in readers]
    while True:
        needed = ~graph.removable
        for one, constant in zip(readers, folded, strict=True):
            positions = one.units[_read(graph, one, kept) & ~constant & (one.units != NONE)]
            needed[positions] = True
        needed |= ~_has_reader(graph)
        needed &= kept
        _keep_one(graph, needed, kept)
        if (needed == kept).all():
            return kept
        kept = needed


def _keep_one(graph: Graph, needed: Mask, kept: Mask) -> None:
    """If no position of an axis is needed, keep its first one that is still there."""
    for one in graph.weights:
        if len(one.units) and not keeps(one.units, needed).any():
            needed[one.units[keeps(one.units, kept)][0]] = True


def _has_reader(graph: Graph) -> Mask:
    """Units that some weight reads. Others (the sizes of keys) are used without a weight."""
    found = np.zeros(graph.count, bool)
    for one in graph.weights:
        if one.role == "in":
            found[one.units[one.units != NONE]] = True
    return found


def _read(graph: Graph, one: WeightAxis, kept: Mask) -> Mask:
    """For each position of the axis, whether a kept unit other than itself reads it."""
    weight = np.moveaxis(values_of(one.variable), one.axis, 0) != 0
    makers = [axis for axis in graph.axes_of[id(one.variable)] if axis.axis != one.axis and axis.role == "out"]
    for maker in makers:
        axis = maker.axis + (maker.axis < one.axis)
        shape = [1] * weight.ndim
        shape[0], shape[axis] = weight.shape[0], weight.shape[axis]
        other = keeps(maker.units, kept)[None, :] & (maker.units[None, :] != one.units[:, None])
        weight = weight & (other | (maker.units[None, :] == NONE)).reshape(shape)
    found: Mask = weight.reshape(len(weight), -1).any(axis=1)
    return found


def _find_foldable(graph: Graph, one: WeightAxis, constants: dict[int, Values]) -> Mask:
    """For each position of an axis that reads units, whether its input is a constant that can be added to a bias."""
    steps = [s for s in graph.steps if isinstance(s, Linear) and s.kernel is one.variable and s.reads == one.axis]
    if not steps:
        return np.zeros(len(one.units), bool)
    values = np.stack([find_constants(constants, step.source) for step in steps])
    same: Mask = (values == values[0]).all(axis=0) & (steps[0].is_local | (values[0] == 0))
    return same


def _find_folds(graph: Graph, constants: dict[int, Values], kept: Mask) -> list[tuple[Linear, Values]]:
    """The constants that removed units add to each layer that reads them; None if they add nothing."""
    found: dict[int, tuple[Linear, Values]] = {}
    for step in graph.steps:
        if isinstance(step, Linear) and step.reads != step.writes and id(step.kernel) not in found:
            gone = ~keeps(graph.numbers[step.source.units], kept) & (step.source.units != NONE)
            values = np.where(gone, np.nan_to_num(find_constants(constants, step.source)), 0.0)
            if values.any():
                moved = values @ matrix_of(step).sum(axis=0)
                if moved[keeps(graph.numbers[step.target.units], kept)].any():
                    found[id(step.kernel)] = (step, moved)
    return list(found.values())
