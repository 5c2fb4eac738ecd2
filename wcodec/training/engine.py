"""One step of quantization-aware training, the same for all parametrizations.

The trained variables (latents) are kept outside of the network. At each step they are turned into weights as the file
will contain them, which are assigned to the network. The gradients with respect to these weights update the latents
(straight-through estimator, Bengio, Leonard and Courville 2013).
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
from wcodec.training.kept_features import Chain
from wcodec.training.losses import LossTargets, compute_loss

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Layer, Model
    from keras import Variable as Weight
    from tensorflow import Tensor


class Batch(NamedTuple):
    """The examples of one step. outputs: the target outputs; empty if they are computed by the original network."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...] = ()
    labels: tuple[Array | None, ...] = ()


class ParameterGroup(Protocol):
    """Weights that are trained in the same way. `values` and `apply` are called in a graph."""

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The variables of the network."""

    def values(self, tf: ModuleType) -> list[Tensor]:
        """The value that each variable has in the network."""

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        """Update the latents. lambda_: the price of a bit; factor: a factor on the learning rates."""


@dataclass(frozen=True)
class FloatGroup:
    """Weights that are trained in floating point. rate: the learning rate."""

    weights: tuple[Weight, ...]
    adam: Adam
    rate: float

    def values(self, tf: ModuleType) -> list[Tensor]:
        return unflatten_tensor(tf, self.adam.values, self.weights)

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        self.adam.step(tf, tf.concat(flat_gradients(tf, gradients, self.weights), 0), factor * self.rate)


def flat_gradients(tf: ModuleType, gradients: Sequence[Tensor | None], weights: Sequence[Weight]) -> list[Tensor]:
    """One float32 vector for each weight; zeros if the loss does not depend on it."""
    return [
        tf.zeros(size_of(weight))
        if gradient is None
        else tf.reshape(tf.cast(tf.convert_to_tensor(gradient), "float32"), [-1])
        for gradient, weight in zip(gradients, weights, strict=True)
    ]


Step = Callable[[Batch, "Tensor", "Tensor", bool], "Tensor"]
"""step(batch, lambda, factor on the learning rates, live) makes one step. It returns the loss before the step, without
the rate term. live: BatchNormalization uses the statistics of the batch."""


def compile_step(
    model: Model | Chain,
    groups: Sequence[ParameterGroup],
    targets: LossTargets,
    batch_norms: Sequence[Layer] = (),
    ask_original: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Step:
    """The training step of `groups`, as one graph.

    ask_original: computes the target outputs, instead of those of the batch.
    context:      a context manager that is entered while the network runs.
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


def call_model(model: Model | Chain, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs of a network in inference mode."""
    outputs: list[Tensor] = keras().tree.flatten(model(pack_inputs(model, inputs), training=False))
    return outputs
