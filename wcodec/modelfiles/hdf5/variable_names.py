"""Names of the numbered variables in Keras 3 files (`vars/0`, `vars/1`, ...), by the class of their layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from wcodec.model.dataclass import dataclass
from wcodec.modelfiles.json_text import Json

KERNEL_BIAS: Final = (("kernel", ""), ("bias", "use_bias"))
RECURRENT: Final = (("kernel", ""), ("recurrent_kernel", ""), ("bias", "use_bias"))
GAMMA_BETA: Final = (("gamma", "scale"), ("beta", "center"))
STATISTICS: Final = (("moving_mean", ""), ("moving_variance", ""))
VARIABLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "batch_normalization": (*GAMMA_BETA, *STATISTICS),
    "cell": RECURRENT,
    "embedding": (("embeddings", ""),),
    "gru": RECURRENT,
    "layer_normalization": GAMMA_BETA,
    "group_normalization": GAMMA_BETA,
    "lstm": RECURRENT,
    "normalization": (("mean", ""), ("variance", ""), ("count", "")),
    "p_re_lu": (("alpha", ""),),
    "rms_normalization": (("scale", ""),),
    "separable_conv": (("depthwise_kernel", ""), ("pointwise_kernel", ""), ("bias", "use_bias")),
    "simple_rnn": RECURRENT,
} | dict.fromkeys(("dense", "einsum_dense", "conv", "depthwise_conv", "conv_transpose"), KERNEL_BIAS)
"""By class: the variables in the order of the file, each with the key of the configuration that can remove it."""


@dataclass(frozen=True)
class LayerConfig:
    """The configuration of a layer, or of a model.

    kind:   its class in snake case, from which Keras 3 makes the names of groups: "dense" for `layers/dense_2`.
    config: the arguments of its constructor.
    layers: the layers of a model, in order.
    """

    kind: str
    name: str
    config: Mapping[str, Json]
    layers: tuple[LayerConfig, ...] = ()

    def inner(self, attribute: str) -> LayerConfig | None:
        """The layer that a wrapper has in an attribute. A recurrent cell has the arguments of its layer."""
        if attribute == "cell" or attribute.endswith("_dense"):
            return LayerConfig("cell" if attribute == "cell" else "dense", "", self.config)
        other = self.config.get("backward_layer") if attribute == "backward_layer" else None
        wrapped = other or self.config.get("layer")
        return parse_layer(wrapped) if isinstance(wrapped, dict) else None

    def groups(self) -> dict[str, LayerConfig]:
        """The layers by the names of their groups in a file: "dense", "dense_1", ..."""
        found: dict[str, LayerConfig] = {}
        for layer in self.layers:
            number = sum(other.kind == layer.kind for other in found.values())
            found[f"{layer.kind}_{number}" if number else layer.kind] = layer
        return found


def parse_layer(json: Json, depth: int = 0) -> LayerConfig | None:
    """A layer from a model's configuration, with the layers inside of it; None for anything else."""
    if not isinstance(json, dict) or not isinstance(json.get("class_name"), str) or depth > 50:
        return None
    config = json.get("config")
    listed: Json = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
    arguments = config if isinstance(config, dict) else {}
    layers = [parse_layer(one, depth + 1) for one in listed] if isinstance(listed, list) else []
    kind = snake_case(str(json["class_name"]).rpartition(">")[2])
    return LayerConfig(kind, str(arguments.get("name", "")), arguments, tuple(one for one in layers if one))


def snake_case(name: str) -> str:
    """The name of a group that Keras derives from a class: "Conv2DTranspose" -> "conv2d_transpose"."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def variable_names(group: str, layer: LayerConfig | None, numbers: Sequence[str]) -> dict[str, str]:
    """The names of variables by number; empty if the class is unknown or has another number of variables.

    group: the name of the group that holds `vars`, from which the class is guessed without a configuration.
    """
    kind = layer.kind if layer else re.sub(r"_[0-9]+$", "", group)
    kind = "cell" if kind.endswith("cell") else "dense" if kind.endswith("_dense") else kind
    table = VARIABLES.get(kind) or VARIABLES.get(re.sub(r"[123]d", "", kind))
    if table is None:
        return {}
    config = layer.config if layer else {}
    names = [name for name, flag in table if not flag or config.get(flag, True)]
    if layer is None and len(numbers) < len(table) and table[-1][1] == "use_bias":
        names = names[:-1]
    if len(names) + 1 == len(numbers) and names[0] == "kernel" and _is_quantized(config):
        names.append("kernel_scale")
    ordered = sorted(numbers, key=lambda number: (len(number), number))
    return dict(zip(ordered, names, strict=True)) if len(names) == len(numbers) else {}


def _is_quantized(config: Mapping[str, Json]) -> bool:
    policy = config.get("dtype")
    return isinstance(policy, dict) and str(policy.get("class_name")).startswith("Quantized")
