"""The layer of each tensor, by its name in the model, and whether its values must stay exact."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from wcodec.model import Tensor
from wcodec.model.dataclass import dataclass, field
from wcodec.modelfiles.hdf5.tree import Found, Group, string_attribute
from wcodec.modelfiles.hdf5.user_names import CONTAINERS, user_names
from wcodec.modelfiles.json_text import Json, parse_json

STATISTICS = re.compile(r"(?:.*/)?(?:spectral_)?normalization(?:_[0-9]+)?/")
"""Paths of Keras' Normalization layers, whose mean and variance come from data."""
CODES = re.compile(r"(?:.*/)?(?:kernel_scale|kernel_zero|g_idx|amax_history|.*_scale|.*_zero|quantized_kernel)(?::0)?")
"""Names of the variables that a quantised layer has in addition to its integers."""


@dataclass(frozen=True)
class Configured:
    """The contents of a Keras config: names of layers, and names of those that must stay exact."""

    layers: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()


@dataclass
class _Places:
    """Facts from the tree, by path of the group that holds a tensor."""

    names: dict[str, str] = field(default_factory=dict)


def annotate(tree: Group, found: Sequence[Found], config: str | None) -> tuple[Tensor, ...]:
    """The tensors with layer, user name and exactness, from the tree and the JSON of the model's config."""
    configured = configuration(config)
    places = _Places()
    _visit(tree, "", places)
    names = user_names(tree, config)
    return tuple(_describe_tensor(tensor, places, configured, names.get(tensor.facts.name, "")) for tensor in found)


def layers_of(tree: Group, names: Sequence[str], config: str | None) -> list[str]:
    """The layer of each tensor of a file; "" for a tensor without one."""
    configured = configuration(config)
    places = _Places()
    _visit(tree, "", places)
    return [_find_layer(name, places, configured) for name in names]


def configuration(text: str | None) -> Configured:
    """Parse a model's config. A config that is not understood gives no names."""
    try:
        config = parse_json(text or "null", "configuration")
        layers = list(_list_layers(config))
    except (ValueError, RecursionError):
        return Configured()
    return Configured(frozenset(name for name, _ in layers), frozenset(name for name, exact in layers if exact))


def _list_layers(config: Json, depth: int = 0) -> Iterator[tuple[str, bool]]:
    """(name, exact) of each layer of a model, including nested models."""
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else inner if isinstance(inner, list) else None
    for layer in layers if isinstance(layers, list) and depth < 50 else []:
        if not isinstance(layer, dict):
            continue
        facts = layer.get("config")
        name = facts.get("name") if isinstance(facts, dict) else None
        if isinstance(facts, dict) and isinstance(name, str):
            yield name, layer.get("class_name") == "Normalization" or _is_quantized(facts)
        yield from _list_layers(layer, depth + 1)


def _is_quantized(layer: dict[str, Json]) -> bool:
    policy = layer.get("dtype")
    if isinstance(policy, str):
        return "_from_" in policy
    return isinstance(policy, dict) and str(policy.get("class_name")).startswith("Quantized")


def _visit(group: Group, path: str, places: _Places) -> None:
    for child in group.children:
        if isinstance(child, Group):
            if child.name == "vars" and (name := string_attribute(child, "name")):
                places.names[path] = name
            _visit(child, f"{path}{child.name}/", places)


def _describe_tensor(tensor: Found, places: _Places, configured: Configured, user_name: str) -> Tensor:
    facts = tensor.facts
    layer = _find_layer(facts.name, places, configured)
    holder, _, name = facts.name.rpartition("/")
    exact = layer in configured.exact or CODES.fullmatch(name) is not None or STATISTICS.match(holder + "/") is not None
    return Tensor(facts.name, facts.dtype, facts.shape, layer, exact, tensor.read, user_name=user_name)


def _find_layer(path: str, places: _Places, configured: Configured) -> str:
    parts = path.split("/")
    if "vars" in parts[-2:-1]:
        # Keras 3 weights: layers/<class>/.../vars/0, where a `vars` may carry its owner's name.
        owners = ["/".join(parts[: i + 1]) + "/" for i in range(len(parts) - 2)]
        named = [places.names.get(owner, parts[i]) for i, owner in enumerate(owners)]
        known = [name for name in named if name in configured.layers]
        if known:
            return known[-1]
        last = max((i for i, part in enumerate(parts[:-2]) if part in CONTAINERS), default=-1)
        return (named[last + 1 :] or named[-1:] or [""])[0]
    inside = [part for part in parts[:-1] if part in configured.layers]
    if inside:
        return inside[-1]
    outer = parts[1:-1] if parts[0] in ("model_weights", "optimizer_weights") else parts[:-1]
    return outer[0] if outer else ""
