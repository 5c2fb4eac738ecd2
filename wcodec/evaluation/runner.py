"""A runnable network of any framework: the interface of evaluation and calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.examples import Array, ModelInput
from wcodec.evaluation.keras_backend import Arguments, Call, intercept_calls, keras, pack_inputs, silence_keras

if TYPE_CHECKING:
    from keras import Layer, Model


Observer: TypeAlias = Callable[[int, Arguments], None]
"""Called at each call of an observed layer, with its number among these and the arguments."""


class NetworkWeight(Protocol):
    """A weight of a network that can be changed. path: its name; dtype: the name of a numpy type, or "bfloat16"."""

    @property
    def path(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    def read(self) -> npt.NDArray[np.float32]:
        """The values as float32."""
        ...

    def assign(self, values: Array) -> None:
        """Set the values, rounded to its type."""
        ...


class Runner(Protocol):
    """A network of ONNX or PyTorch. `as_runner` wraps a Keras network.

    name:    for messages.
    inputs:  of the network.
    weights: those that can be changed, in a fixed order.
    """

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[ModelInput, ...]: ...
    @property
    def weights(self) -> Sequence[NetworkWeight]: ...
    def get_weights(self) -> list[Array]:
        """The current values of all weights."""
        ...

    def set_weights(self, values: Sequence[Array]) -> None:
        """Inverse: `get_weights`."""
        ...

    def predict(self, inputs: tuple[Array, ...]) -> Sequence[Array]:
        """The outputs for a batch of examples, in inference mode, with examples along the first axis."""
        ...

    def activations(self, layers: Sequence[object], inputs: tuple[Array, ...], see: Observer) -> None:
        """Run a batch in inference mode, and call `see` for each call of `layers`, with the arguments of the call.

        An exception from `see` ends the run.
        """
        ...

    def reestimate(self, layers: Sequence[object], batches: Sequence[tuple[Array, ...]]) -> None:
        """Set the moving statistics of `layers` to the average over the batches of the statistics of each batch."""
        ...


Network: TypeAlias = "Model | Runner"
"""A network of Keras or of another framework."""


class KerasRunner:
    """The interface for a Keras network."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, inputs: tuple[Array, ...]) -> Sequence[Array]:
        """See `Runner.predict`."""
        self.model.jit_compile = False
        with silence_keras():
            outputs: list[Array] = keras().tree.flatten(self.model.predict_on_batch(pack_inputs(self.model, inputs)))
        return outputs

    def activations(self, layers: Sequence[Layer], inputs: tuple[Array, ...], see: Observer) -> None:
        """See `Runner.activations`."""

        def call_seen(number: int) -> Call:
            def call(own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
                see(number, (*given, *named.values()))
                return own(*given, **named)

            return call

        with ExitStack() as stack, silence_keras():
            for number, layer in enumerate(layers):
                stack.enter_context(intercept_calls(layer, call_seen(number)))
            self.model(pack_inputs(self.model, inputs), training=False)


def is_runner(model: object) -> TypeGuard[Runner]:
    """Whether this is a network of ONNX or PyTorch."""
    return hasattr(type(model), "activations")


def as_runner(model: Network) -> Runner | KerasRunner:
    """The network itself if it is a `Runner`, or a wrapper of a Keras network."""
    return model if is_runner(model) else KerasRunner(model)
