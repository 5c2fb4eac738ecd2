"""Gradients of the loss with respect to the weights, batch by batch, multiplied by the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras, pack_inputs, silence_keras, tensorflow
from wcodec.structure.fitting import OutputTarget, loss_of

if TYPE_CHECKING:
    from keras import Model

Float64 = npt.NDArray[np.float64]

BATCH: Final = 16
"""Examples of a gradient: few, because the gradients of many examples of a trained network cancel."""
EXAMPLES: Final = 2000
"""The largest number of examples."""


def products(
    model: Model, examples: Examples, targets: list[OutputTarget], power: Literal[1, 2]
) -> Iterator[dict[int, Float64]]:
    """By id of each trained variable: (w dL/dw)^power of a batch, in the variable's shape."""
    tf = tensorflow()
    losses = [loss_of(one) for one in targets]
    variables = list(model.trainable_variables)
    for start in range(0, min(examples.count, EXAMPLES), BATCH):
        at = slice(start, start + BATCH)
        with tf.GradientTape() as tape, silence_keras():
            outputs = keras().tree.flatten(
                model(pack_inputs(model, tuple(a[at] for a in examples.inputs)), training=False)
            )
            parts = [f(one.wanted[at], y) for f, one, y in zip(losses, targets, outputs, strict=True)]
            loss = tf.add_n(parts)
        gradients = tape.gradient(loss, [one.value for one in variables])
        yield {
            id(one): np.power(_to_numbers(one) * _to_numbers(tf.convert_to_tensor(gradient)), power)
            for one, gradient in zip(variables, gradients, strict=True)
            if gradient is not None
        }


def _to_numbers(tensor: object) -> Float64:
    found: Float64 = np.asarray(tensor, np.float64)
    return found
