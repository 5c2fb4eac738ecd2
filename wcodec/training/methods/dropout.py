"""Dropout in the training of a network that is pruned: Han, Pool, Tran and Dally 2015 (section 3.2) keep it, and lower
its rate by the root of the part of the connections that is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wcodec.calibration.quantizable_weights import WeightTable
from wcodec.evaluation.keras_backend import Arguments, intercept_calls, list_layers, tensorflow
from wcodec.training.methods.parametrization import constant

if TYPE_CHECKING:
    from keras import Layer, Model
    from tensorflow import Variable


@dataclass(frozen=True)
class ScaledDropout:
    """A Dropout layer and the rate that it has now.

    kernel: the place in `model.weights` of the kernel before it; None: there is none, and the rate stays.
    """

    layer: Layer
    rate: Variable
    kernel: int | None

    def scale(self, kept: Mapping[int, float]) -> None:
        """kept: by places in `model.weights` the part of the kernel's weights that is left."""
        self.rate.assign(self.layer.rate * kept.get(-1 if self.kernel is None else self.kernel, 1.0) ** 0.5)


def find_dropouts(model: Model, table: WeightTable) -> list[ScaledDropout]:
    """The Dropout layers (SpatialDropout too), each with the last kernel of a layer before it."""
    found: list[ScaledDropout] = []
    places = {id(one.variable): one.index for one in table.trainable if one.kind == "kernel"}
    kernel = None
    for layer in list_layers(model):
        kernel = next((places[id(one)] for one in layer.weights if id(one) in places), kernel)
        if type(layer).__name__.startswith(("Dropout", "SpatialDropout")) and layer.rate > 0:
            found.append(ScaledDropout(layer, constant(layer.rate), kernel))
    return found


@contextmanager
def use_dropout(dropouts: Sequence[ScaledDropout], count: Variable) -> Iterator[None]:
    """While open, in a graph, these layers drop by their rates. count: the number of the step, which seeds them."""
    tf = tensorflow()

    def call_of(number: int, one: ScaledDropout) -> Callable[..., object]:
        def call(own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
            inputs = given[0] if given else named["inputs"]
            shape = tf.shape(inputs)
            fixed = one.layer._get_noise_shape(inputs) if hasattr(one.layer, "_get_noise_shape") else None
            fixed = getattr(one.layer, "noise_shape", None) if fixed is None else fixed
            if fixed is not None:
                shape = [shape[axis] if extent is None else extent for axis, extent in enumerate(fixed)]
            seed = [tf.cast(count, "int32"), number]
            return tf.nn.experimental.stateless_dropout(inputs, one.rate, seed, noise_shape=shape)

        return call

    with ExitStack() as stack:
        for number, one in enumerate(dropouts):
            stack.enter_context(intercept_calls(one.layer, call_of(number, one)))
        count.assign_add(1)
        yield
