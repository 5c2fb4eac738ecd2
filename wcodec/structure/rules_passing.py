"""Layers without kernels: units pass through them, along the same axis or along another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wcodec.evaluation.keras_backend import keras
from wcodec.structure.activations import activation_of, mixes
from wcodec.structure.flow import LONGEST, Flow, LayerCall, Values, channel_axis, plain, spread
from wcodec.structure.units import NONE, Units

if TYPE_CHECKING:
    from keras import Layer


def same(call: LayerCall) -> list[Flow]:
    """The first input unchanged in inference: dropout, noise, masks, casts."""
    x = call.flows[0]
    return [call.transfer(Flow(call.shapes[0], x.axis, x.units), lambda values: values[0])]


def operation(call: LayerCall) -> list[Flow]:
    """An elementwise operation that is not a layer; its values for constants are not computed."""
    (x,) = call.flows
    return [call.transfer(Flow(call.shapes[0], x.axis, x.units), lambda values: np.full_like(values[0], np.nan), "")]


def elementwise(call: LayerCall) -> list[Flow]:
    """Each number by itself."""
    (x,) = call.flows
    if mixes(call.layer) or np.ndim(getattr(call.layer, "scale", 0)) or np.ndim(getattr(call.layer, "offset", 0)):
        return call.plain()
    target = Flow(call.shapes[0], x.axis, x.units)
    return [call.transfer(target, lambda values: apply_layer(call.layer, x, values[0]), activation_of(call.layer))]


def softmax(call: LayerCall) -> list[Flow]:
    """Units are independent if the sum is not over units."""
    (x,) = call.flows
    axes = call.layer.axis if isinstance(call.layer.axis, list | tuple) else (call.layer.axis,)
    if x.axis in [axis % len(x.shape) for axis in axes]:
        return call.plain()
    return [call.transfer(Flow(call.shapes[0], x.axis, x.units), lambda values: np.full_like(values[0], np.nan), "")]


def batch_norm(call: LayerCall) -> list[Flow]:
    """Gain, offset and statistics are indexed by the units."""
    layer, x = call.layer, call.flows[0]
    units = call.units_at(x, layer.axis)
    for variable in layer.weights:
        if tuple(variable.shape) == (len(units),):
            call.index(variable, 0, units, "scale")
    axis = layer.axis % len(x.shape)
    return [call.transfer(Flow(call.shapes[0], axis, units), lambda values: apply_layer(layer, x, values[0]))]


def prelu(call: LayerCall) -> list[Flow]:
    """One slope for each unit."""
    layer, (x,) = call.layer, call.flows
    if x.axis > 0 and layer.alpha.shape[x.axis - 1] == len(x.units):
        call.index(layer.alpha, x.axis - 1, x.units, "scale")
    elif not x.is_plain and layer.alpha.shape[x.axis - 1] != 1:
        return call.plain()
    return [call.transfer(Flow(call.shapes[0], x.axis, x.units), lambda values: np.full_like(values[0], np.nan), "")]


def spatial(call: LayerCall) -> list[Flow]:
    """Pooling, cropping, upsampling: channels stay, and so does a value that is equal everywhere."""
    (x,) = call.flows
    axis = channel_axis(call.layer, len(x.shape))
    return [call.transfer(Flow(call.shapes[0], axis, call.units_at(x, axis)), lambda values: values[0])]


def padding(call: LayerCall) -> list[Flow]:
    """The rule of padding layers: as `spatial`, but only zeros are equal everywhere afterwards."""
    (x,) = call.flows
    axis = channel_axis(call.layer, len(x.shape))
    target = Flow(call.shapes[0], axis, call.units_at(x, axis))
    return [call.transfer(target, lambda values: np.where(values[0] == 0, 0.0, np.nan))]


def global_pooling(call: LayerCall) -> list[Flow]:
    """Channels, and other axes only of size 1."""
    (x,) = call.flows
    axis = channel_axis(call.layer, len(x.shape))
    target = Flow(call.shapes[0], axis if len(call.shapes[0]) == len(x.shape) else 1, call.units_at(x, axis))
    return [call.transfer(target, lambda values: values[0])]


def flatten(call: LayerCall) -> list[Flow]:
    """Every position of the flat axis belongs to one channel; images with channels first are transposed before."""
    (x,) = call.flows
    first = getattr(call.layer, "data_format", None) == "channels_first" and len(x.shape) > 2
    return _reshape(call, x, first)


def reshape(call: LayerCall) -> list[Flow]:
    """Units are followed if they stay on one axis."""
    (x,) = call.flows
    (target,) = found = _reshape(call, x, False)
    if target.axis > 0 and call.layer.target_shape[target.axis - 1] != -1:
        call.size(("target_shape", target.axis - 1), target.units)
    return found


def permute(call: LayerCall) -> list[Flow]:
    """The axis moves with the permutation."""
    (x,) = call.flows
    axis = 0 if x.axis == 0 else tuple(call.layer.dims).index(x.axis) + 1
    return [call.transfer(Flow(call.shapes[0], axis, x.units), lambda values: values[0])]


def repeat_vector(call: LayerCall) -> list[Flow]:
    """[batch, units] -> [batch, times, units]"""
    (x,) = call.flows
    return [call.transfer(Flow(call.shapes[0], 2, call.units_at(x, 1)), lambda values: values[0])]


def masking(call: LayerCall) -> list[Flow]:
    """A step is masked by all of its values, so its units stay."""
    return call.plain()


def apply_layer(layer: Layer, x: Flow, values: Values) -> Values:
    """The constant outputs of an elementwise layer for constant inputs."""
    shape = [1] * len(x.shape)
    shape[x.axis] = len(values)
    given = np.nan_to_num(values).reshape(shape).astype(np.float32)
    found = keras().ops.convert_to_numpy(layer(keras().ops.convert_to_tensor(given)))
    return np.where(np.isnan(values), np.nan, found.astype(np.float64).reshape(-1))


def _reshape(call: LayerCall, x: Flow, turn: bool) -> list[Flow]:
    if x.is_plain:
        return [plain(call.shapes[0])]
    sizes, wanted = _require_known(x.shape[1:]), _require_known(call.shapes[0][1:])
    if x.axis == len(x.shape) - 1 and call.shapes[0][-1] == len(x.units):
        return [call.transfer(Flow(call.shapes[0], len(call.shapes[0]) - 1, x.units), lambda values: values[0])]
    if sizes is None or wanted is None or x.axis == 0 or math.prod(sizes) > LONGEST:
        return call.plain()

    def move_axes(values: np.ndarray) -> np.ndarray:
        elements = spread(values, x, sizes)
        return (np.moveaxis(elements, 0, -1) if turn else elements).reshape(wanted)

    found = _find_one_axis(move_axes(x.units))
    if found is None:
        return call.plain()
    axis, units = found

    def values_at(values: Sequence[Values]) -> Values:
        seen: Values = np.moveaxis(move_axes(values[0]), axis, 0).reshape(len(units), -1)
        return np.where((seen == seen[:, :1]).all(axis=1), seen[:, 0], np.nan)

    return [call.transfer(Flow(call.shapes[0], axis + 1, units), values_at)]


def _find_one_axis(elements: Units) -> tuple[int, Units] | None:
    """The only axis along which elements differ, and the elements along it."""
    differ = [axis for axis in range(elements.ndim) if (elements != elements.take([0], axis)).any()]
    if len(differ) > 1 or (not differ and (elements != NONE).any() and elements.size > 1):
        return None
    axis = differ[0] if differ else elements.ndim - 1
    return axis, np.moveaxis(elements, axis, 0).reshape(elements.shape[axis], -1)[:, 0].copy()


def _require_known(shape: Sequence[int | None]) -> tuple[int, ...] | None:
    known = tuple(size for size in shape if size is not None)
    return known if len(known) == len(shape) else None
