"""Dropout while a network is pruned. Han, Pool, Tran and Dally 2015 (section 3.2) multiply the dropout rate by the
square root of the fraction of weights that remain.
"""

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
    """A Dropout layer and its current rate.

    kernel: the position in `model.weights` of the kernel before the layer; None if there is none, and the rate is
            constant.
    """

    layer: Layer
    rate: Variable
    kernel: int | None

    def scale(self, kept: Mapping[int, float]) -> None:
        """Set the rate. kept: the fraction of weights that remain, by position of the kernel in `model.weights`."""
        self.rate.assign(self.layer.rate * kept.get(-1 if self.kernel is None else self.kernel, 1.0) ** 0.5)


def find_dropouts(model: Model, table: WeightTable) -> list[ScaledDropout]:
    """The Dropout and SpatialDropout layers, each with the last kernel before it."""
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
    """A context in which these layers drop by their rates, in a graph. count: the number of the step, a seed."""
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
