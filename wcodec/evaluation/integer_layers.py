"""Keras' layers of int8 and int4 weights, with the exact levels of a container.

A Keras layer has levels and, for each channel, a number by which they are divided. Its int8 layers also round their
inputs, example by example.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from wcodec.container.dtypes import Float32
from wcodec.errors import RecipeError, UnsupportedError
from wcodec.evaluation.keras_backend import keep_types, keras, list_inner_layers, list_layers, list_own_weights
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.integer_levels import IntegerLevels, read_integer_levels

if TYPE_CHECKING:
    from keras import Layer, Model, Variable

IntegerType: TypeAlias = Literal["int8", "int4"]
INTEGER_TYPES: Final = get_args(IntegerType)
MOST: Final[dict[IntegerType, int]] = {"int8": 127, "int4": 7}
"""The largest magnitude of a level; levels are symmetric about 0."""
TAKING: Final = ("Dense", "EinsumDense", "Embedding")
"""Classes of layers that have integer weights in Keras, without subclasses."""
SHOWN: Final = 4
"""The largest number of names of layers in a sentence."""


@dataclass(frozen=True)
class _Fitted:
    """Levels for a layer.

    levels: int8[shape of the kernel].
    scales: the divisors, one for each channel.
    """

    levels: npt.NDArray[np.int8]
    scales: Float32


def use_integer_layers(model: Model, source: Path, decoded: Path, kind: IntegerType) -> tuple[str, ...]:
    """Put the integers of the container `source` into every layer that can have them. Returns sentences about the
    result.

    model: the network in `decoded`, the model file from `source`; the other layers keep their floats.
    Raises: RecipeError if no layer can have any; UnsupportedError for a version of Keras with another layout.
    """
    with open_model(decoded) as file:
        names = tensor_names(model, file)
    places = {id(variable): names.get(index, ()) for index, variable in enumerate(model.weights)}
    kept = {id(layer) for layer in _list_kept(model)}
    refused: dict[str, list[str]] = defaultdict(list)
    taken, count = [], 0
    with open_container(source) as opened, _collect_new_objects_alone():
        for layer in list_layers(model):
            matrices = [one for one in list_own_weights(layer) if len(one.shape) >= 2]
            if not matrices:
                continue
            fitted: _Fitted | str = _find_refusal(layer, kind, id(layer) in kept)
            if not fitted:
                tensors = [opened.names().index(name) for name in places[id(matrices[0])][:1]]
                fitted = _fit(layer, read_integer_levels(opened, tensors[0]) if tensors else None, kind)
            if isinstance(fitted, str):
                refused[fitted].append(layer.name)
            else:
                _put(layer, fitted, kind)
                taken.append(layer.name)
                count += fitted.levels.size
    for layer in list_layers(model):
        if isinstance(layer, keras().layers.MultiHeadAttention):
            keep_types(layer)
    others = tuple(f"{_enumerate(layers)}: floats, since {reason}" for reason, layers in refused.items())
    if not taken:
        raise RecipeError(f"--as {kind}: expected a layer that takes integers, got {'; '.join(others) or 'no weights'}")
    return (f"{_enumerate(taken)}: {count:,} weights are {kind}", *others)


@contextmanager
def _collect_new_objects_alone() -> Iterator[None]:
    """Leave the objects that exist now out of garbage collections.

    Keras collects garbage after each variable that it deletes: 0.4 s a layer where TensorFlow's objects are searched.
    """
    if gc.get_freeze_count():  # the program around it has frozen objects, and would lose that
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _enumerate(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _list_kept(layer: Layer) -> Iterator[Layer]:
    """The layers whose types are in the configuration of the model, at any depth.

    Layers in wrappers are left out: TimeDistributed uses a layer's `call`, which multiplies by the unscaled levels.
    """
    of = keras()
    for inner in list_inner_layers(layer):
        yield inner
        if isinstance(inner, (of.Model, of.layers.MultiHeadAttention)):
            yield from _list_kept(inner)


def _find_refusal(layer: Layer, kind: IntegerType, kept: bool) -> str:
    """The reason why Keras has no integers for this layer; "" if it has."""
    name = type(layer).__name__
    if name not in TAKING or type(layer) is not getattr(keras().layers, name):
        return f"Keras has no {kind} weights of {name}"
    if layer.quantization_mode:
        return "they are quantised already"
    if layer.compute_dtype == "float16":
        return f"Keras has no {kind} weights of layers that compute in float16"
    if not kept:
        return "Keras runs integers only in a layer of their own, not in one around it"
    channels, dims = _find_channel_axes(layer), len(_find_matrix(layer).shape)
    if name == "EinsumDense" and kind == "int4" and channels != tuple(range(dims - len(channels), dims)):
        return "Keras packs int4 by outputs, which are not last"
    return ""


def _find_matrix(layer: Layer) -> Variable:
    return layer.embeddings if type(layer).__name__ == "Embedding" else layer.kernel


def _find_channel_axes(layer: Layer) -> tuple[int, ...]:
    """The axes of the kernel along which each position has a scale: rows of an embedding, outputs otherwise."""
    match type(layer).__name__:
        case "Embedding":
            return (0,)
        case "Dense":
            return (1,)
    inputs, _, outputs = layer.equation.partition("->")
    return tuple(axis for axis, letter in enumerate(inputs.partition(",")[2]) if letter in outputs)


def _fit(layer: Layer, found: IntegerLevels | None, kind: IntegerType) -> _Fitted | str:
    """The integers of the layer, or the reason why it cannot have them."""
    if found is None:
        return "the values are no integers times a step (--quantizer symmetric, or calibrated steps)"
    if found.magnitude > MOST[kind]:
        return f"the levels reach {found.magnitude:,} and {kind} ends at {MOST[kind]}"
    axes = _find_channel_axes(layer)
    others = tuple(axis for axis in range(found.steps.ndim) if axis not in axes)
    first: Float32 = found.steps[
        tuple(slice(0, 1) if axis in others else slice(None) for axis in range(found.steps.ndim))
    ]
    if not np.array_equal(np.broadcast_to(first, found.steps.shape), found.steps):
        return "the steps differ inside of a channel of Keras"
    steps = np.where(np.any(found.levels, axis=others, keepdims=True), first, 1.0).squeeze(others)
    if type(layer).__name__ == "EinsumDense" and kind == "int8":
        inputs, _, outputs = layer.equation.partition("->")
        letters = [inputs.partition(",")[2][axis] for axis in axes]
        steps = steps.transpose([letters.index(letter) for letter in outputs if letter in letters])
    return _Fitted(found.levels.astype(np.int8), (1.0 / steps).astype(np.float32))


def _put(layer: Layer, fitted: _Fitted, kind: IntegerType) -> None:
    """Convert the layer to integers.

    Raises: UnsupportedError if it does not have these levels afterwards.
    """
    of, table = keras(), type(layer).__name__ == "Embedding"
    if kind == "int4":
        if not hasattr(of.quantizers, "Int4QuantizationConfig"):
            raise UnsupportedError(f"--as int4: expected a later version of Keras, got {of.__version__}")
        layer.quantize(kind, config=of.quantizers.Int4QuantizationConfig(block_size=None))
    else:
        layer.quantize(kind)
    held, scale = (layer._embeddings, layer.embeddings_scale) if table else (layer._kernel, layer.kernel_scale)
    levels = fitted.levels
    if kind == "int4":
        levels = of.quantizers.pack_int4(levels.reshape(held.shape[0], -1), axis=-1)[0]
    held.assign(levels)
    scale.assign(fitted.scales.reshape(scale.shape))
    if not np.array_equal(of.ops.convert_to_numpy(_find_matrix(layer)), fitted.levels):
        raise UnsupportedError(f"{layer.name}: expected Keras to hold {kind} levels as 3.15 does, got {of.__version__}")
