"""The first layers of a network, which are not trained if they have few weights and take much time.

Their outputs (features) are then computed once for several steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.work import step_seconds
from wcodec.evaluation.keras_backend import list_chain

if TYPE_CHECKING:
    from keras import Layer
    from keras import Variable as Weight
    from tensorflow import Tensor

FEW: Final = 0.002
"""The largest fraction of the weights of all kernels in the first layers."""
GAIN: Final = 1.2
"""By which a step must be faster."""


@dataclass(frozen=True)
class Chain:
    """Layers, each of which has the output of the one before as its only input. It is called as a network is."""

    layers: tuple[Layer, ...]

    def __call__(self, inputs: Tensor, training: bool = False) -> Tensor:
        for layer in self.layers:
            inputs = layer(inputs, training=training)
        return inputs

    @property
    def weights(self) -> list[Weight]:
        """The variables of its layers."""
        return [weight for layer in self.layers for weight in layer.weights]


@dataclass(frozen=True)
class SplitNetwork:
    """A network in two parts. first: the layers that are not trained; none if all are."""

    first: Chain
    others: Chain

    @property
    def kept(self) -> frozenset[int]:
        """The ids of the variables that are not trained."""
        return frozenset(id(weight) for weight in self.first.weights)


def split_network(session: CalibrationSession, batch: int) -> SplitNetwork | None:
    """The network in two parts, such that a step that trains the second takes the least time; None if no part with few
    weights takes much of it, or if the layers are no chain.
    """
    layers, found, least = list_chain(session.model), None, step_seconds(session, batch) / GAIN
    every = sum(kernel.original.size for kernel in session.kernels)
    for at in range(1, len(layers)):
        split = SplitNetwork(Chain(tuple(layers[:at])), Chain(tuple(layers[at:])))
        kept = [kernel.original.size for kernel in session.kernels if id(kernel.variable) in split.kept]
        seconds = step_seconds(session, batch, split.kept)
        if kept and sum(kept) <= FEW * every and seconds <= least:
            found, least = split, seconds
    return found
