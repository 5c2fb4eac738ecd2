"""A chain of layers without its dead units: what training has emptied need not be computed any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.keras_backend import keras

if TYPE_CHECKING:
    from keras import Layer, Model


Levels = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Number = TypeVar("Number", np.int32, np.float32)
Pick = tuple[npt.NDArray[np.intp], ...]

WEIGHTED: Final = {"Conv2D": "filters", "Dense": "units"}
PASSING: Final = ("MaxPooling2D", "AveragePooling2D", "Dropout", "ReLU", "Flatten")
ACTIVATIONS: Final = ("linear", "relu", "tanh")
"""Those that answer 0 with 0."""


@dataclass(frozen=True)
class Slim:
    """The smaller network. picks: for each of its weights the indices of the whole network's weight that it keeps."""

    model: Model
    picks: tuple[Pick, ...]
    shapes: tuple[tuple[int, ...], ...]


def slim(model: Model, levels: Sequence[Levels]) -> Slim | None:
    """The network without units that nothing reaches, or that reach nothing, with its weights; None for networks that
    are no plain chain of convolutions and dense layers.

    levels: of `model.weights`, in order.
    """
    chain = _chain(model)
    if chain is None:
        return None
    kernels, biases = [levels[2 * i] for i in range(len(chain))], [levels[2 * i + 1] for i in range(len(chain))]
    alive: list[Mask] = [np.ones(kernel.shape[-1], bool) for kernel in kernels]
    for _ in chain:
        for i, (kernel, bias) in enumerate(zip(kernels[:-1], biases[:-1], strict=True)):
            reached = kernel[..., _inputs(i, kernel, alive), :].any(axis=tuple(range(kernel.ndim - 1))) | (bias != 0)
            following = kernels[i + 1][..., alive[i + 1]].any(axis=-1).reshape(-1, kernels[i + 1].shape[-2])
            reaching = following.any(axis=0).reshape(-1, len(alive[i])).any(axis=0)
            alive[i] = alive[i] & reached & reaching
            alive[i][0] |= not alive[i].any()
    picks: list[Pick] = []
    for i, kernel in enumerate(kernels):
        taps = tuple(np.arange(extent) for extent in kernel.shape[:-2])
        picks.append(np.ix_(*taps, np.flatnonzero(_inputs(i, kernel, alive)), np.flatnonzero(alive[i])))
        picks.append((np.flatnonzero(alive[i]),))
    small = _built(model, chain, [int(mask.sum()) for mask in alive])
    for weight, whole, pick in zip(small.weights, model.weights, picks, strict=True):
        weight.assign(np.asarray(whole)[pick])
    return Slim(small, tuple(picks), tuple(tuple(weight.shape) for weight in model.weights))


def whole(part: Slim, index: int, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """What a weight of the smaller network has, as the whole one has it: zeros where nothing was kept."""
    found = np.zeros(part.shapes[index], values.dtype)
    found[part.picks[index]] = values
    return found


def ordered(model: Model, levels: Sequence[Levels]) -> list[Levels]:
    """The same network with its hidden units in another order, those with most levels first, the dead ones last: what
    is alike lies together, and costs fewer bits. What is no plain chain stays as it is.

    levels: of `model.weights`, in order.
    """
    found = list(levels)
    for i in range(len(_chain(model) or ()) - 1):
        kernel, bias, following = found[2 * i : 2 * i + 3]
        units, inputs = kernel.shape[-1], following.shape[-2]
        used = np.count_nonzero(kernel.reshape(-1, units), axis=0)
        uses = np.count_nonzero(following, axis=-1).reshape(-1, units).sum(axis=0)
        order = np.argsort(-(used + uses), kind="stable")
        places = (np.arange(inputs // units)[:, None] * units + order).reshape(-1)
        found[2 * i : 2 * i + 3] = kernel[..., order], bias[order], following[..., places, :]
    return found


def _inputs(i: int, kernel: Levels, alive: Sequence[Mask]) -> Mask:
    """Which inputs of layer `i` are alive. Behind Flatten a channel has as many inputs as places, channels last."""
    if i == 0:
        return np.ones(kernel.shape[-2], bool)
    return np.tile(alive[i - 1], kernel.shape[-2] // len(alive[i - 1]))


def _chain(model: Model) -> list[Layer] | None:
    """The layers with weights."""
    if type(model).__name__ != "Sequential":
        return None
    found = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in WEIGHTED:
            plain = (
                getattr(layer, "groups", 1) == 1 and getattr(layer, "data_format", "channels_last") != "channels_first"
            )
            if not (plain and layer.use_bias and layer.activation.__name__ in ACTIVATIONS and len(layer.weights) == 2):
                return None
            found.append(layer)
        elif kind not in PASSING and not (kind == "Reshape" and not found):
            return None
    return found or None


def _built(model: Model, chain: Sequence[Layer], units: Sequence[int]) -> Model:
    config = model.get_config()
    count = dict(zip((layer.name for layer in chain), units, strict=True))
    for layer in config["layers"]:
        if layer["config"].get("name") in count:
            layer["config"][WEIGHTED[layer["class_name"]]] = count[layer["config"]["name"]]
        layer.pop("build_config", None)
    config.pop("build_input_shape", None)
    small: Model = keras().Sequential.from_config(config)
    if not small.built:
        small.build(model.input_shape)
    return small
