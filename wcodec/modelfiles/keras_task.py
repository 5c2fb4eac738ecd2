"""What a Keras model predicts, from the losses and outputs in its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from wcodec.model import PredictedTask
from wcodec.modelfiles.json_text import Json, parse_json

VALUE_LOSSES: Final = frozenset({
    "mse", "mae", "mape", "msle", "huber", "huberloss", "logcosh", "poisson", "quantile", "pinball", "meansquarederror",
    "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror",
})  # fmt: skip
"""Losses for values, in lower case and without separators."""
MULTILABEL_LOSSES: Final = frozenset({"binarycrossentropy", "binaryfocalcrossentropy", "bce"})
"""Losses for decisions, of which each has a unit of its own."""
MOST_VALUES: Final = 3
"""The largest number of linear outputs that are taken for values if no loss is known."""
LINEAR: Final = frozenset({"Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose"})


def predicted_task(config: str | None, training: str | None = None) -> PredictedTask:
    """The task of the compiled loss; without a loss values, if an output layer with few units is linear.

    config:   the model's configuration as JSON; in a `.keras` file it contains the compiled loss, too.
    training: the JSON of `training_config` of an `.h5` file.
    """
    model, compiled = _parse(config), _parse(training)
    compiled = compiled or (model.get("compile_config") if isinstance(model, dict) else None)
    losses = list(_names(compiled.get("loss"))) if isinstance(compiled, dict) else []
    if losses:
        plain = {re.sub(r"[^a-z]", "", name.lower()) for name in losses}
        return "values" if plain & VALUE_LOSSES else "multilabel" if plain & MULTILABEL_LOSSES else "unknown"
    return "values" if any(_is_linear(layer) for layer in _output_layers(model)) else "unknown"


def _parse(text: str | None) -> Json:
    try:
        return parse_json(text or "null", "configuration")
    except (ValueError, RecursionError):
        return None


def _names(loss: Json) -> Iterator[str]:
    """The names of losses: of one, of a list, or of one for each output."""
    if isinstance(loss, str):
        yield loss
    elif isinstance(loss, list):
        for one in loss:
            yield from _names(one)
    elif isinstance(loss, dict) and isinstance(loss.get("class_name"), str):
        inner = loss.get("config")
        yield from _names(inner if loss["class_name"] in {"function", "__lambda__"} else loss["class_name"])
    elif isinstance(loss, dict):
        for one in loss.values():
            yield from _names(one)


def _output_layers(model: Json) -> Iterator[dict[str, Json]]:
    config = model.get("config") if isinstance(model, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(layers, list):
        return
    named = {str(one.get("name") or _config(one).get("name")): one for one in layers if isinstance(one, dict)}
    outputs = config.get("output_layers")
    if isinstance(outputs, list):
        names = set(_texts(outputs))
        yield from (layer for name, layer in named.items() if name in names)
    elif named:
        yield list(named.values())[-1]


def _texts(outputs: Json) -> Iterator[str]:
    """All strings of nested lists: the names of output layers, without the positions."""
    if isinstance(outputs, str):
        yield outputs
    elif isinstance(outputs, list):
        for one in outputs:
            yield from _texts(one)


def _config(layer: dict[str, Json]) -> dict[str, Json]:
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def _is_linear(layer: dict[str, Json]) -> bool:
    """Whether the layer has few linear outputs. Many may be logits, which often have no activation either."""
    config = _config(layer)
    units = config.get("units", config.get("filters"))
    few = isinstance(units, int) and units <= MOST_VALUES
    return few and layer.get("class_name") in LINEAR and config.get("activation") in {None, "linear"}
