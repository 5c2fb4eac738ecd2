"""Activations: whether they act on units one by one, and their values for constant inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.evaluation.keras_backend import keras

if TYPE_CHECKING:
    from keras import Layer
    from numpy.typing import NDArray

MIXING: Final = ("softmax", "log_softmax", "sparsemax", "glu")
"""Activations whose result for a unit depends on other units."""
HOMOGENEOUS: Final = ("linear", "relu")
"""f(c x) = c f(x) for c > 0."""


def name_of(activation: object) -> str:
    """Keras' name of an activation; "" for a custom function."""
    if activation is None:
        return "linear"
    own = str(getattr(activation, "__module__", "")).startswith("keras.")
    return str(getattr(activation, "__name__", "")) if own else ""


def activation_of(layer: Layer) -> str:
    """Keras' name of the elementwise function of a layer without weights; "" if there is none."""
    kind = type(layer).__name__
    if kind == "Activation":
        return name_of(layer.activation)
    if kind == "ReLU":
        return "relu" if not layer.max_value and not layer.threshold else ""
    return "leaky_relu" if kind == "LeakyReLU" else ""


def mixes(layer: Layer) -> bool:
    """Whether an activation inside of the layer may combine several units. A custom function always may."""
    names = [name_of(getattr(layer, one, None)) for one in ("activation", "recurrent_activation")]
    return any(name in ("", *MIXING) for name in names)


def activate(layer: Layer, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply the layer's activation to constant values; NaN stays NaN."""
    activation = getattr(layer, "activation", None)
    if activation is None:
        return values
    ops = keras().ops
    found = ops.convert_to_numpy(activation(ops.convert_to_tensor(np.nan_to_num(values).astype(np.float32))))
    return np.where(np.isnan(values), np.nan, found.astype(np.float64))
