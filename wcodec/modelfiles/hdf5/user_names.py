"""User names of the tensors of a Keras file: the name of the layer, then of the weight, such as `dense/kernel`.

Keras 3 files number the layers of a class and the variables of a layer (`layers/dense_2/vars/0`). Their names come from
attributes in the file and from the configuration of the model. Older files have the names in their paths.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from wcodec.modelfiles.hdf5.tree import Group, Slot, string_attribute
from wcodec.modelfiles.hdf5.variable_names import LayerConfig, parse_layer, variable_names
from wcodec.modelfiles.json_text import parse_json

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups whose members are layers; TensorFlow 2.13 writes the second."""
OPTIMIZER = ("optimizer", "optimizer_weights")


def user_names(tree: Group, config: str | None) -> dict[str, str]:
    """User names by path in the file, as far as they differ from the path and are unique.

    config: the JSON of the model's configuration; None if the file has none.
    """
    whole = string_attribute(tree, "model_config") or config
    try:
        model = parse_layer(parse_json(whole or "null", "configuration"))
    except (ValueError, RecursionError):
        model = None
    groups = [child for child in tree.children if isinstance(child, Group)]
    old = next((group for group in groups if group.name == "model_weights"), None)
    if old or any(attribute.name.startswith("layer_names") for attribute in tree.attributes):
        found = dict(_list_old_names(old or tree, "model_weights/" if old else ""))
    else:
        found = dict(_list_new_names(tree, "", (), model))
    times = Counter(found.values())
    return {path: name for path, name in found.items() if times[name] == 1 and name != path}


def _list_old_names(weights: Group, prefix: str) -> Iterator[tuple[str, str]]:
    """Names in files whose groups are layers: "dense/seq/dense/kernel", "dense/dense/kernel:0" -> "dense/kernel"."""
    for layer in weights.children:
        if not isinstance(layer, Group):
            continue
        for rest in _list_paths(layer):
            parts = rest.split("/")
            named = parts[parts.index(layer.name) :] if layer.name in parts[:-1] else [layer.name, *parts]
            if layer.name == "top_level_model_weights":
                named = parts
            yield f"{prefix}{layer.name}/{rest}", re.sub(r":[0-9]+$", "", "/".join(named))


def _list_paths(group: Group) -> Iterator[str]:
    for child in group.children:
        if isinstance(child, Group):
            yield from (f"{child.name}/{path}" for path in _list_paths(child))
        elif isinstance(child, Slot):
            yield child.name


def _list_new_names(
    group: Group, path: str, said: tuple[str, ...] | None, layer: LayerConfig | None
) -> Iterator[tuple[str, str]]:
    """The names in a file of Keras 3, below `group`.

    said:  names of the layers on the path; None if one of them is known only by its number.
    layer: the configuration of the layer that `group` belongs to.
    """
    for child in group.children:
        if not isinstance(child, Group) or (not path and child.name in OPTIMIZER):
            continue
        below = f"{path}{child.name}/"
        if child.name == "vars":
            slots = [one.name for one in child.children if isinstance(one, Slot)]
            # A wrapper's inner layer is called "layer"; its own name is by default the one of its class.
            known = variable_names(group.name if group.name != "layer" else _read_own_name(group), layer, slots)
            if said is not None:
                yield from ((below + slot, "/".join((*said, known.get(slot, slot)))) for slot in slots)
        elif child.name in CONTAINERS:
            members = layer.groups() if layer else {}
            for member in child.children:
                if isinstance(member, Group):
                    its = members.get(member.name)
                    name = _read_own_name(member) or (its.name if its else "")
                    further = (*said, name) if said is not None and name else None
                    yield from _list_new_names(member, f"{below}{member.name}/", further, its)
        else:
            further = None if said is None else (*said, _read_own_name(child) or child.name)
            yield from _list_new_names(child, below, further, layer.inner(child.name) if layer else None)


def _read_own_name(group: Group) -> str:
    """The name that a newer Keras writes into the group of a layer; "" if there is none."""
    variables = next((one for one in group.children if isinstance(one, Group) and one.name == "vars"), None)
    return (string_attribute(variables, "name") if variables else None) or ""
