"""Quantization-aware training: one step of it, for whatever stands behind the weights.

The values that are learned stand outside of the network. For each step they are turned into weights as a file has them
and put into it; the gradients for these weights move what is learned (the straight-through estimator, Bengio, Leonard
and Courville 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wcodec.calibration.batch_norm import use_batch_statistics
from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import keras, loss_and_gradients, pack_inputs, silence_keras, tensorflow
from wcodec.training.flat_adam import Adam, size_of, unflatten_tensor
from wcodec.training.losses import LossTargets, compute_loss

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Layer, Model
    from keras import Variable as Weight
    from tensorflow import Tensor


class Batch(NamedTuple):
    """Examples of one step. outputs: that the network is trained to give; none where its original is asked for them."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...] = ()
    labels: tuple[Array | None, ...] = ()


class ParameterGroup(Protocol):
    """Weights that are trained in one way. `values` and `apply` are called in a graph."""

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The variables of the network."""

    def values(self, tf: ModuleType) -> list[Tensor]:
        """What each of them has in the network."""

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        """Move what is learned. lambda_: the price of a bit; factor: on the learning rates."""


@dataclass(frozen=True)
class FloatGroup:
    """Weights that are trained as they are. rate: the learning rate."""

    weights: tuple[Weight, ...]
    adam: Adam
    rate: float

    def values(self, tf: ModuleType) -> list[Tensor]:
        return unflatten_tensor(tf, self.adam.values, self.weights)

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        self.adam.step(tf, tf.concat(flat_gradients(tf, gradients, self.weights), 0), factor * self.rate)


def flat_gradients(tf: ModuleType, gradients: Sequence[Tensor | None], weights: Sequence[Weight]) -> list[Tensor]:
    """One float32 vector a weight; zeros where the loss does not depend on it."""
    return [
        tf.zeros(size_of(weight))
        if gradient is None
        else tf.reshape(tf.cast(tf.convert_to_tensor(gradient), "float32"), [-1])
        for gradient, weight in zip(gradients, weights, strict=True)
    ]


Step = Callable[[Batch, "Tensor", "Tensor", bool], "Tensor"]
"""(batch, lambda, factor on the learning rates, live) makes one step and returns the loss before it, without the rate.
live: BatchNormalization goes by the batch's own statistics."""


def compile_step(
    model: Model,
    groups: Sequence[ParameterGroup],
    targets: LossTargets,
    batch_norms: Sequence[Layer] = (),
    ask_original: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Step:
    """The step that trains `groups`, as one graph.

    ask_original: gives the outputs to be trained to, in place of the batch's.
    context:      is open while the network runs.
    """
    tf = tensorflow()
    weights = [weight for group in groups for weight in group.weights]

    def step(batch: Batch, lambda_: Tensor, factor: Tensor, live: bool) -> Tensor:
        wanted = ask_original(batch.inputs) if ask_original else batch.outputs
        values = [value for group in groups for value in group.values(tf)]
        for weight, value in zip(weights, values, strict=True):
            weight.assign(tf.cast(value, weight.dtype))
        with silence_keras(), use_batch_statistics(batch_norms if live else ()), context():
            loss, gradients = loss_and_gradients(
                lambda: compute_loss(tf, targets, call_model(model, batch.inputs), wanted, batch.labels), weights
            )
        for group in groups:
            count = len(group.weights)
            group.apply(tf, gradients[:count], lambda_, factor)
            gradients = gradients[count:]
        return loss

    compiled: Step = tf.function(step, autograph=False)
    return compiled


def call_model(model: Model, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs of a network as it is in inference."""
    outputs: list[Tensor] = keras().tree.flatten(model(pack_inputs(model, inputs), training=False))
    return outputs
