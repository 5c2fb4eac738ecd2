"""Neuron merging without data: a kept unit replaces a removed unit that is nearly a multiple of it.

For activations with f(c x) = c f(x), c > 0: a unit whose incoming weights are c times those of a kept unit has c times
its value (Kim et al. 2020, after Srinivas and Babu 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.keras_backend import keras, list_layers
from wcodec.structure.activations import HOMOGENEOUS, name_of
from wcodec.structure.flow import Linear
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.units import Units, WeightAxis

if TYPE_CHECKING:
    from keras import Layer, Variable

Array = npt.NDArray[np.generic]
Float64 = npt.NDArray[np.float64]

NEAREST: Final = 0.45
"""The smallest cosine of the incoming weights of two units that are merged."""


def merge(graph: Graph, kept: Mask) -> dict[int, Array]:
    """New values by id of a variable, with the removed units merged into the kept ones; see `without`.

    Units of a group are merged if one layer computes them, and every layer that reads them does so by itself. Other
    groups are unchanged.
    """
    values: dict[int, Float64] = {}
    for group in graph.groups:
        maker = find_maker(graph, group)
        gone, stay = group[~kept[group]], group[kept[group]]
        if maker is None or not len(gone) or not len(stay):
            continue
        incoming = incoming_weights(graph, maker[0], group)
        place = {unit: number for number, unit in enumerate(group.tolist())}
        removed, others = (incoming[[place[unit] for unit in units.tolist()]] for units in (gone, stay))
        lengths, other_lengths = (np.linalg.norm(one, axis=1) for one in (removed, others))
        cosines = removed @ others.T / np.maximum(np.outer(lengths, other_lengths), 1e-30)
        nearest = np.argmax(cosines, axis=1)
        near = cosines[np.arange(len(gone)), nearest] > NEAREST
        scales = lengths / np.maximum(other_lengths[nearest], 1e-30)
        for axis in graph.weights:
            if axis.role == "in":
                _move(axis, gone[near], stay[nearest[near]], scales[near], values)
    return {
        id(variable): values[id(variable)].astype(str(variable.dtype))
        for variable in graph.model.weights
        if id(variable) in values
    }


def find_maker(graph: Graph, group: Units) -> tuple[Linear, bool] | None:
    """The only layer that computes a group and is followed only by gains and relu, and whether there is no relu either.

    None if there is another activation, or more than one layer.
    """
    axes = [one for one in graph.weights if np.isin(group, one.units).any()]
    makers = {id(one.variable) for one in axes if one.role == "out" and len(one.variable.shape) > 1}
    steps = [s for s in graph.steps if isinstance(s, Linear) and id(s.kernel) in makers and s.reads != s.writes]
    if len(makers) != 1 or len(steps) != 1:
        return None
    if any(one.role == "scale" and len(one.variable.shape) > 1 for one in axes):
        return None
    names = _list_activations(graph, steps[0])
    return (steps[0], "relu" not in names) if all(name in HOMOGENEOUS for name in names) else None


def _list_activations(graph: Graph, maker: Linear) -> list[str]:
    """Names of the activations that follow the layer; "" for an unknown one."""
    found = [name_of(getattr(maker.layer, "activation", None))]
    wanted = set(graph.numbers[maker.target.units].tolist())
    for step in graph.steps:
        sources = (step.source,) if isinstance(step, Linear) else step.sources
        if isinstance(step, Linear) or not any(wanted & set(graph.numbers[s.units].tolist()) for s in sources):
            continue
        found.append(step.activation)
    return found


def incoming_weights(graph: Graph, maker: Linear, group: Units) -> Float64:
    """float64[units, incoming weights and the bias], scaled by BatchNormalization."""
    kernel = np.moveaxis(_read_values(maker.kernel), maker.writes, 0)
    numbers = graph.numbers[maker.target.units]
    rows = np.array([int(np.flatnonzero(numbers == unit)[0]) for unit in group.tolist()])
    weights = kernel.reshape(kernel.shape[0], -1)[rows]
    bias = np.zeros(len(rows)) if maker.bias is None else _read_values(maker.bias)[rows]
    norm = _find_norm_behind(graph, group)
    if norm is not None:
        layer, places = norm
        spread = np.sqrt(_read_values(layer.moving_variance)[places] + layer.epsilon)
        gain = (_read_values(layer.gamma)[places] if layer.scale else 1.0) / spread
        offset = _read_values(layer.beta)[places] if layer.center else 0.0
        weights, bias = weights * gain[:, None], (bias - _read_values(layer.moving_mean)[places]) * gain + offset
    return np.column_stack([weights, bias])


def _find_norm_behind(graph: Graph, group: Units) -> tuple[Layer, Units] | None:
    """The BatchNormalization that follows a group, and the positions of the group's units in it."""
    for one in graph.weights:
        if one.role == "scale" and one.variable.name == "moving_variance" and np.isin(group, one.units).any():
            layers = list_layers(graph.model)
            layer = next(own for own in layers if getattr(own, "moving_variance", None) is one.variable)
            return layer, np.array([int(np.flatnonzero(one.units == unit)[0]) for unit in group.tolist()])
    return None


def _move(axis: WeightAxis, gone: Units, stay: Units, scales: Float64, values: dict[int, Float64]) -> None:
    """Add the weights that read removed units to those that read kept ones; after Flatten, position by position."""
    here = np.isin(gone, axis.units)
    if not here.any():
        return
    value = values.setdefault(id(axis.variable), _read_values(axis.variable).copy())
    turned = np.moveaxis(value, axis.axis, 0)
    for unit, other, scale in zip(gone[here].tolist(), stay[here].tolist(), scales[here].tolist(), strict=True):
        turned[axis.units == other] += scale * turned[axis.units == unit]


def _read_values(variable: Variable) -> Float64:
    values: Float64 = keras().ops.convert_to_numpy(variable).astype(np.float64)
    return values
