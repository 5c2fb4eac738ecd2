"""Plain chains of convolutions and dense layers: sorting of their hidden units, so that the levels cost fewer bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from keras import Layer, Model


Levels = npt.NDArray[np.int32]

WEIGHTED: Final = {"Conv2D": "filters", "Dense": "units"}
"""Layers with weights, and the attribute that has their number of units."""
PASSING: Final = ("MaxPooling2D", "AveragePooling2D", "Dropout", "ReLU", "Flatten")
ACTIVATIONS: Final = ("linear", "relu", "tanh")
"""Activations with f(0) = 0."""


def sort_units(model: Model, levels: Sequence[Levels]) -> list[Levels]:
    """An equivalent network with its hidden units sorted by the number of non-zero levels, dead units last.

    Similar units are then neighbours and cost fewer bits. A network that is not a plain chain is returned unchanged.

    levels: of `model.weights`, in order.
    """
    found = list(levels)
    for i in range(len(find_chain(model) or ()) - 1):
        kernel, _, following = found[2 * i : 2 * i + 3]
        units = kernel.shape[-1]
        used = np.count_nonzero(kernel.reshape(-1, units), axis=0)
        uses = np.count_nonzero(following, axis=-1).reshape(-1, units).sum(axis=0)
        found = permute_units(found, i, np.argsort(-(used + uses), kind="stable"))
    return found


def permute_units(levels: Sequence[Levels], layer: int, order: npt.NDArray[np.intp]) -> list[Levels]:
    """An equivalent chain with the units of a layer in another order. After Flatten, channels are the last axis.

    levels: of `model.weights`, in order. layer: its number in `find_chain`.
    """
    found = list(levels)
    kernel, bias, following = found[2 * layer : 2 * layer + 3]
    places = (np.arange(following.shape[-2] // kernel.shape[-1])[:, None] * kernel.shape[-1] + order).reshape(-1)
    found[2 * layer : 2 * layer + 3] = kernel[..., order], bias[order], following[..., places, :]
    return found


def find_chain(model: Model) -> list[Layer] | None:
    """The layers with weights; None if the network is not a plain chain."""
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
