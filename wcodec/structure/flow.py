"""A tensor of a network with its units, one call of a layer, and the effect of the call on constant values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.keras_backend import keras
from wcodec.structure.units import NONE, Role, Units, UnitTable

if TYPE_CHECKING:
    from keras import Layer, Variable

Shape = tuple[int | None, ...]
Values = npt.NDArray[np.float64]
"""For each position of an axis the constant value of the unit, or NaN if it depends on the input."""
LONGEST: Final = 1 << 22
"""The largest reshaped tensor whose units are followed, in elements."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A tensor of the network.

    shape: with the batch first; None for any length.
    axis:  the axis whose positions are units; never negative.
    units: intp[shape[axis]]; all are NONE if the size is unknown.
    """

    shape: Shape
    axis: int
    units: Units

    @property
    def is_plain(self) -> bool:
        """Whether no unit in it can be removed."""
        return bool((self.units == NONE).all())


@dataclass(frozen=True)
class Linear:
    """A layer that multiplies units by a weight; axes are those of the kernel.

    reads:     the axis that reads the source's units; equal to `writes` if each unit is computed from itself.
    is_local:  no position of the source is padding, so that a constant can be added to the bias.
    activates: whether the layer's activation follows; False between the two halves of a separable convolution.
    """

    layer: Layer
    source: Flow
    target: Flow
    kernel: Variable
    reads: int
    writes: int
    bias: Variable | None
    is_local: bool
    activates: bool = True


@dataclass(frozen=True)
class Transfer:
    """A layer without a kernel: its constant outputs for constant inputs.

    activation: Keras' name of its elementwise function; "" if it is unknown.
    """

    sources: tuple[Flow, ...]
    target: Flow
    values: Callable[[Sequence[Values]], Values]
    activation: str = "linear"


Step = Linear | Transfer


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer.

    args, named: with a Flow for each tensor.
    shapes:      of the outputs.
    owner, path: the layer that is in the network's configuration, and the path of this layer's configuration in it.
    """

    layer: Layer
    args: tuple[object, ...]
    named: dict[str, object]
    shapes: tuple[Shape, ...]
    table: UnitTable
    steps: list[Step]
    owner: Layer
    path: tuple[str | int, ...] = ()

    @property
    def flows(self) -> list[Flow]:
        """The input tensors. Masks of time steps, which have no units, are none of them."""
        named = {name: one for name, one in self.named.items() if not (name == "mask" and _is_plain(one))}
        return [one for one in keras().tree.flatten((self.args, named)) if isinstance(one, Flow)]

    @property
    def name(self) -> str:
        """The name of the layer for messages."""
        return f"{self.layer.name} ({type(self.layer).__name__})"

    def fresh(self, part: str, count: int) -> Units:
        """The units that the layer computes."""
        return self.table.fresh((id(self.layer), part), count, self.layer.name)

    def index(self, variable: Variable, axis: int, units: Units, role: Role) -> None:
        """See `UnitTable.index`."""
        self.table.index(variable, axis, units, role, self.layer.name)

    def size(self, path: tuple[str | int, ...], units: Units) -> None:
        """See `UnitTable.size`; the path starts at this layer's configuration."""
        self.table.size(self.owner, (*self.path, *path), units)

    def units_at(self, flow: Flow, axis: int) -> Units:
        """The units on this axis of an input; those on another axis are frozen."""
        axis %= len(flow.shape)
        if flow.axis == axis:
            return flow.units
        self.table.freeze(flow.units, self.name)
        return nothing(flow.shape[axis])

    def plain(self) -> list[Flow]:
        """Outputs without removable units; all inputs are frozen, with this layer as the reason."""
        for flow in self.flows:
            self.table.freeze(flow.units, self.name)
        return [plain(shape) for shape in self.shapes]

    def transfer(self, target: Flow, values: Callable[[Sequence[Values]], Values], activation: str = "linear") -> Flow:
        """`target`, with a rule for its constant values."""
        self.steps.append(Transfer(tuple(self.flows), target, values, activation))
        return target


def _is_plain(mask: object) -> bool:
    return all(one.is_plain for one in keras().tree.flatten(mask) if isinstance(one, Flow))


def nothing(count: int | None) -> Units:
    """No unit at any position."""
    return np.full(count or 0, NONE, np.intp)


def plain(shape: Shape) -> Flow:
    """A tensor without removable units."""
    axis = len(shape) - 1
    return Flow(shape, max(axis, 0), nothing(shape[axis] if shape else 0))


def channel_axis(layer: Layer, rank: int) -> int:
    """The axis of channels of a layer for images or sequences."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def spread(values: npt.NDArray[np.generic], flow: Flow, shape: Sequence[int]) -> npt.NDArray[np.generic]:
    """The values at the positions of the flow's axis, broadcast to every element of an example of this shape."""
    turned = values.reshape([-1 if axis + 1 == flow.axis else 1 for axis in range(len(shape))])
    return np.broadcast_to(turned, tuple(shape))
