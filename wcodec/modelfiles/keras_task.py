"""What a Keras model predicts, from the losses and outputs in its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from wcodec.model import PredictedTask
from wcodec.modelfiles.json_text import Json, parse_json

VALUE_LOSSES: Final = frozenset({
    "mse", "mae", "mape", "msle", "huber", "huberloss", "logcosh", "poisson", "quantile", "pinball", "meansquarederror",
    "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror", "cosinesimilarity",
})  # fmt: skip
"""Losses for values, in lower case and without separators."""
MULTILABEL_LOSSES: Final = frozenset({"binarycrossentropy", "binaryfocalcrossentropy", "bce"})
"""Losses for decisions, of which each has a unit of its own."""
CLASS_LOSSES: Final = frozenset({
    "categoricalcrossentropy", "sparsecategoricalcrossentropy", "categoricalfocalcrossentropy", "categoricalhinge",
    "kldivergence", "kld",
})  # fmt: skip
"""Losses for classes of which one is true."""
MOST_VALUES: Final = 3
"""The largest number of linear outputs that are taken for values if no loss is known."""
LINEAR: Final = frozenset({"Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose"})
VALUE_ACTIVATIONS: Final = frozenset({None, "linear", "relu", "softplus", "exponential"})
"""Activations of units that predict values; a logit has the first ones, too."""
PASSING: Final = frozenset({
    "Reshape", "Flatten", "Permute", "Dropout", "Rescaling", "Normalization", "Identity", "ReLU", "Add", "Subtract",
    "Average", "Concatenate",
})  # fmt: skip
"""Layers behind the last weights whose outputs are what goes in, moved, scaled or added."""
MODELS: Final = frozenset({"Sequential", "Functional", "Model"})
DEPTH: Final = 20
"""The largest number of layers that are followed from an output."""
Layer: TypeAlias = dict[str, Json]


def predicted_tasks(config: str | None, training: str | None = None) -> tuple[PredictedTask, ...]:
    """The task of each output in the order of the network's outputs, by its loss; without a loss that is known it is
    values if the output layer is linear with few units. One task for all outputs if the file does not list them.

    config:   the model's configuration as JSON; in a `.keras` file it contains the compiled loss, too.
    training: the JSON of `training_config` of an `.h5` file.
    """
    model, compiled = _parse(config), _parse(training)
    compiled = compiled or (model.get("compile_config") if isinstance(model, dict) else None)
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    outputs = _list_outputs(model)
    if not outputs:
        return tuple(_find_task(one) for one in _list_losses(loss)) or ("unknown",)
    tasks = []
    for number, (names, layer) in enumerate(outputs):
        task = _find_task(_find_loss(loss, number, names))
        tasks.append("values" if task == "unknown" and _is_linear(*layer) else task)
    return tuple(tasks)


def _parse(text: str | None) -> Json:
    try:
        return parse_json(text or "null", "configuration")
    except (ValueError, RecursionError):
        return None


def _is_loss(loss: Json) -> bool:
    return isinstance(loss, str) or (isinstance(loss, dict) and isinstance(loss.get("class_name"), str))


def _list_losses(loss: Json) -> list[Json]:
    """A loss for each output of a network that does not list its outputs: Keras sorts the keys of a dict."""
    if isinstance(loss, list):
        return loss
    if isinstance(loss, dict) and not _is_loss(loss):
        return [loss[key] for key in sorted(loss)]
    return [loss]


def _find_loss(loss: Json, number: int, names: tuple[str, ...]) -> Json:
    """The loss of one output: of a list by its number, of a dict by a name of the output; otherwise that of all."""
    if isinstance(loss, list):
        return loss[number] if number < len(loss) else None
    if isinstance(loss, dict) and not _is_loss(loss):
        return next((loss[name] for name in names if name in loss), None)
    return loss


def _find_task(loss: Json) -> PredictedTask:
    """The task for which the loss is made; "unknown" for a loss of the user's own, or none."""
    while isinstance(loss, dict):
        kind = loss.get("class_name")
        loss = loss.get("config") if kind in {"function", "__lambda__"} else kind
    plain = re.sub(r"[^a-z]", "", loss.rpartition(">")[2].lower()) if isinstance(loss, str) else ""
    if plain in VALUE_LOSSES:
        return "values"
    if plain in MULTILABEL_LOSSES:
        return "multilabel"
    return "classes" if plain in CLASS_LOSSES else "unknown"


def _list_outputs(model: Json) -> list[tuple[tuple[str, ...], tuple[Layer, Layer]]]:
    """The names of each output (its key if outputs are a dict, and the layer), and its layer with those that may be
    before it, by name; [] if it is unknown.
    """
    config = model.get("config") if isinstance(model, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(layers, list):
        return []
    named: Layer = {
        str(one.get("name") or _read_config(one).get("name")): one for one in layers if isinstance(one, dict)
    }
    last = [(name,) for name in list(named)[-1:]]
    found = list(_list_output_names(config["output_layers"], ())) if "output_layers" in config else last
    every = ((names, named.get(names[-1])) for names in found)
    return [(names, (layer if isinstance(layer, dict) else {}, named)) for names, layer in every]


def _list_output_names(outputs: Json, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The names of each output of nested lists and dicts of [layer, node, tensor]."""
    if isinstance(outputs, dict):
        for key in sorted(outputs):
            yield from _list_output_names(outputs[key], (key,))
    elif isinstance(outputs, list) and outputs and isinstance(outputs[0], str):
        yield (*keys, outputs[0])
    elif isinstance(outputs, list):
        for one in outputs:
            yield from _list_output_names(one, keys)


def _read_config(layer: Layer) -> Layer:
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def _is_linear(layer: Layer, before: Layer, depth: int = 0) -> bool:
    """Whether the layer has few linear outputs. Many may be logits, which often have no activation either.

    before: the layers of the network by name.
    """
    config, kind = _read_config(layer), layer.get("class_name")
    if depth == DEPTH:
        return False
    if kind in MODELS:
        inner = _list_outputs(layer)
        return len(inner) == 1 and _is_linear(*inner[0][1], depth + 1)
    if kind == "TimeDistributed" and isinstance(inside := config.get("layer"), dict):
        return _is_linear(inside, {}, depth + 1)
    if kind in PASSING or (kind == "Activation" and config.get("activation") in VALUE_ACTIVATIONS):
        last = _find_layers_before(layer, before)
        return bool(last) and all(_is_linear(one, before, depth + 1) for one in last)
    units = config.get("units", config.get("filters"))
    few = isinstance(units, int) and units <= MOST_VALUES
    return few and kind in LINEAR and config.get("activation") in VALUE_ACTIVATIONS


def _find_layers_before(layer: Layer, named: Layer) -> list[Layer]:
    """The layers whose outputs are the inputs; the one before in a sequential network."""
    names = list(named)
    if "inbound_nodes" in layer:
        found = [name for name in names if name in set(_list_texts(layer["inbound_nodes"]))]
    else:
        at = next((number for number, name in enumerate(names) if named[name] is layer), 0)
        found = names[at - 1 : at] if at else []
    return [one for name in found if isinstance(one := named[name], dict)]


def _list_texts(nodes: Json) -> Iterator[str]:
    """The names of layers in inbound nodes: strings, and the histories of tensors."""
    if isinstance(nodes, str):
        yield nodes
    elif isinstance(nodes, list):
        for one in nodes:
            yield from _list_texts(one)
    elif isinstance(nodes, dict) and "keras_history" in nodes:
        yield from _list_texts(nodes["keras_history"])
    elif isinstance(nodes, dict):
        for key in ("args", "config"):
            yield from _list_texts(nodes.get(key))
