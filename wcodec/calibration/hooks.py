"""Hooks that record the inputs of layers while a Keras model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from wcodec.calibration.linear_ops import Arguments
from wcodec.evaluation.examples import Array
from wcodec.evaluation.inference import pack_inputs
from wcodec.evaluation.keras_backend import silence_keras

if TYPE_CHECKING:
    from keras import Layer, Model

Call = Callable[[Callable[..., object], Arguments, dict[str, object]], object]


@contextmanager
def intercept_calls(layer: Layer, watch: Call) -> Iterator[None]:
    """While open, each eager call of `layer` is `watch(its own call, positional arguments, named arguments)`."""
    own = layer.call
    # Keras tracks attributes that are set the usual way.
    object.__setattr__(layer, "call", lambda *given, **named: watch(own, given, named))
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def count_calls(model: Model, layers: Sequence[Layer], batch: tuple[Array, ...]) -> list[int]:
    """How often each layer is called for a batch: more than once where it is shared, or steps through a sequence."""
    counts = [0] * len(layers)

    def counting(number: int) -> Call:
        def watch(own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
            counts[number] += 1
            return own(*given, **named)

        return watch

    with ExitStack() as stack, silence_keras():
        for number, layer in enumerate(layers):
            stack.enter_context(intercept_calls(layer, counting(number)))
        model(pack_inputs(model, batch), training=False)
    return counts
