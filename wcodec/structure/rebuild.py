"""Rebuilding of a network without some units, from its configuration: an ordinary Keras model with the same names."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.keras_backend import keras, silence_keras
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.units import Units

if TYPE_CHECKING:
    from keras import Layer, Model, Variable

Array = npt.NDArray[np.generic]
Config = dict[str, object]


def without(graph: Graph, kept: Mask, values: Mapping[int, Array] | None = None) -> Model:
    """The network with only the kept units.

    kept:   bool[graph.count].
    values: by id of a variable of the network, new values in its full shape.
    """
    config = copy.deepcopy(graph.model.get_config())
    counts: dict[int, list[tuple[tuple[str | int, ...], int]]] = {}
    for size in graph.sizes:
        number = int(keeps(size.units, kept).sum())
        if number != len(size.units):
            counts.setdefault(id(size.layer), []).append((size.path, number))
    _resize(graph.model, config, counts)
    small = _from_config(graph.model, config)
    small.set_weights(
        [part_of(graph, variable, kept, (values or {}).get(id(variable))) for variable in graph.model.weights]
    )
    return small


def part_of(graph: Graph, variable: Variable, kept: Mask, value: Array | None = None) -> Array:
    """The values of a variable in the smaller network."""
    found = keras().ops.convert_to_numpy(variable) if value is None else value
    for one in graph.axes_of.get(id(variable), []):
        found = found.compress(keeps(one.units, kept), axis=one.axis)
    for other, units in graph.rescaled:
        if other is variable:
            left = float(keeps(units, kept).mean())
            found = (found * np.sqrt(left)).astype(found.dtype) if left < 1 else found
    return np.asarray(found)


def keeps(units: Units, kept: Mask) -> Mask:
    """For each position, whether it is kept."""
    found: Mask = np.append(kept, True)[units]  # NONE is the last
    return found


def with_biases(model: Model, names: frozenset[str]) -> Model:
    """A network with the same outputs, with biases of zeros added to the layers of these names that have none."""
    config = copy.deepcopy(model.get_config())
    _switch(config, names)
    made = _from_config(model, config)
    for old, new in zip(_flatten_layers(model), _flatten_layers(made), strict=True):
        own = [
            w
            for w in new.weights
            if not (old.name in names and w.name == "bias" and len(old.weights) < len(new.weights))
        ]
        for variable, value in zip(own, old.weights, strict=True):
            variable.assign(value)
    return made


def _flatten_layers(model: Model) -> list[Layer]:
    """The layers that have weights themselves, and wrappers with all of theirs, in order."""
    found: list[Layer] = []
    for layer in model.layers:
        inner = hasattr(layer, "layers") and hasattr(layer, "get_layer")
        found.extend(_flatten_layers(layer) if inner else [layer])
    return list({id(layer): layer for layer in found}.values())


def _from_config(model: Model, config: Config) -> Model:
    with silence_keras():
        made: Model = type(model).from_config(config)
        if not made.built:
            made.build(model.input_shape)
    return made


def _resize(model: Model, config: Config, counts: Mapping[int, list[tuple[tuple[str | int, ...], int]]]) -> None:
    """Write the new numbers into a configuration, and remove the shapes with which layers were built."""
    config.pop("build_input_shape", None)
    operations = {
        one.name: one for one in (model._layers if type(model).__name__ == "Sequential" else model.operations)
    }
    for entry, own in _list_entries(config):
        _forget_shapes(entry)
        layer = operations.get(own.get("name", entry.get("name")))
        for (key, *rest), number in counts.get(id(layer), []):
            own[str(key)] = _replace(own[str(key)], tuple(rest), number)
        if layer is not None and "layers" in own:
            _resize(layer, own, counts)


def _list_entries(config: Config) -> list[tuple[Config, Config]]:
    """For each layer of a network's configuration its entry, and its own configuration in it."""
    entries = config["layers"]
    found = []
    for entry in entries if isinstance(entries, list) else []:
        own = entry["config"]
        found.append((entry, own))
    return found


def _forget_shapes(entry: object) -> None:
    if isinstance(entry, dict):
        entry.pop("build_config", None)
        for inner in entry.values():
            _forget_shapes(inner)
    elif isinstance(entry, list):
        for inner in entry:
            _forget_shapes(inner)


def _replace(config: object, path: tuple[str | int, ...], number: int) -> object:
    """A configuration with this number at the end of a path. Tuples on the path become lists."""
    if not path:
        return number
    key, rest = path[0], path[1:]
    if isinstance(config, dict):
        return config | {key: _replace(config[key], rest, number)}
    if isinstance(config, list | tuple) and isinstance(key, int):
        found = list(config)
        found[key] = _replace(found[key], rest, number)
        return found
    return config


def _switch(config: Config, names: frozenset[str]) -> None:
    for entry, own in _list_entries(config):
        if own.get("name") in names and own.get("use_bias") is False:
            own["use_bias"] = True
            entry.pop("build_config", None)
        if "layers" in own:
            _switch(own, names)
