"""BatchNormalization after rounding: its statistics are taken anew, from inputs without labels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from wcodec.calibration.hooks import intercept_calls
from wcodec.calibration.linear_ops import Arguments
from wcodec.calibration.quantizable_weights import list_layers
from wcodec.evaluation.examples import Batches
from wcodec.evaluation.inference import pack_inputs
from wcodec.evaluation.keras_backend import silence_keras
from wcodec.evaluation.weight_mapping import Places

if TYPE_CHECKING:
    from keras import Layer, Model


def find_batch_norms(model: Model, exact: Places = frozenset()) -> list[Layer]:
    """The layers that keep moving statistics, and nothing that moves with them.

    exact: places of weights that stay as they are, and so do statistics one of which is there.
    """
    kept = {id(weight) for index, weight in enumerate(model.weights) if index in exact}
    layers = [one for one in list_layers(model) if type(one).__name__ == "BatchNormalization" and not one.renorm]
    return [one for one in layers if kept.isdisjoint((id(one.moving_mean), id(one.moving_variance)))]


def reestimate(model: Model, layers: list[Layer], batches: Batches) -> None:
    """Set the moving mean and variance of `layers` to the average over `batches` of each batch's own.

    All other layers (dropout) run as in inference.
    """
    kept = [(layer.momentum, layer.trainable) for layer in layers]

    def training(own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
        return own(*given, **{**named, "training": True})

    try:
        with ExitStack() as stack, silence_keras():
            for layer in layers:
                stack.enter_context(intercept_calls(layer, training))
                layer.trainable = True
            for number, batch in enumerate(batches):
                for layer in layers:
                    layer.momentum = number / (number + 1)
                model(pack_inputs(model, batch), training=False)
    finally:
        for layer, (momentum, trainable) in zip(layers, kept, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
