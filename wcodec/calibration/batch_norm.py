"""Re-estimation of the moving statistics of BatchNormalization after rounding, from inputs without labels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import Arguments, intercept_calls, list_layers, pack_inputs, silence_keras
from wcodec.evaluation.runner import Network, is_runner

if TYPE_CHECKING:
    from keras import Layer, Model


def find_batch_norms(model: Model, fixed: Collection[int] = ()) -> list[Layer]:
    """The layers whose moving statistics may change.

    fixed: indices in `model.weights` of weights that must not change; a layer with such a statistic is left out.
    """
    kept = {id(model.weights[index]) for index in fixed}
    layers = [one for one in list_layers(model) if type(one).__name__ == "BatchNormalization" and not one.renorm]
    return [one for one in layers if kept.isdisjoint((id(one.moving_mean), id(one.moving_variance)))]


class _AllCalled(BaseException):
    """Ends a run of the network after the last call of these layers. Not an error."""


@contextmanager
def use_batch_statistics(layers: Sequence[Layer], heard: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A context in which these layers normalise by the statistics of each batch; all others run in inference mode.

    heard: called after each call of one of them.
    """

    def call(own: Callable[..., object], given: Arguments, named: dict[str, object]) -> object:
        found = own(*given, **{**named, "training": True})
        heard()
        return found

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(intercept_calls(layer, call))
        yield


def reestimate(
    model: Network, layers: Sequence[Layer], batches: Iterable[tuple[Array, ...]], calls: int | None = None
) -> None:
    """Set the moving mean and variance of `layers` to the average of the statistics of each batch.

    calls: of these layers for a batch, after which nothing needs to run; None: the whole network runs.
    """
    if is_runner(model):
        model.reestimate(layers, list(batches))
        return
    network: Model = model
    kept = [(layer.momentum, layer.trainable) for layer in layers]
    left = [0]

    def heard() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _AllCalled

    try:
        with use_batch_statistics(layers, heard), silence_keras():
            for layer in layers:
                layer.trainable = True
            for number, batch in enumerate(batches):
                for layer in layers:
                    layer.momentum = number / (number + 1)
                left[0] = calls or 0
                with suppress(_AllCalled):
                    network(pack_inputs(network, batch), training=False)
    finally:
        for layer, (momentum, trainable) in zip(layers, kept, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
