"""Removable units: a table of them, joined where they can only be removed together, and where each one is stored."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from keras import Layer, Variable

Units = npt.NDArray[np.intp]
"""A unit's number for each position of an axis, or NONE."""
Role = Literal["out", "in", "scale"]
NONE: Final = -1
"""Stands where nothing can be removed, such as an input of the network."""


@dataclass(frozen=True)
class WeightAxis:
    """An axis of a weight that is indexed by units.

    units: intp[size of the axis].
    role:  out: the weight computes the units; in: it reads them; scale: it changes each unit by itself.
    layer: the name of the layer that owns the weight, for people.
    """

    variable: Variable
    axis: int
    units: Units
    role: Role
    layer: str


@dataclass(frozen=True)
class ConfigSize:
    """A number in a layer's configuration that counts units.

    path:  keys and positions from the layer's `get_config()` on.
    """

    layer: Layer
    path: tuple[str | int, ...]
    units: Units


@dataclass
class UnitTable:
    """Units while the network is walked; a disjoint-set forest (Tarjan 1975).

    Everything is keyed by what it belongs to, so that a layer which is called twice describes its weights twice, and
    the units of both calls are joined position by position.
    """

    parents: list[int] = field(default_factory=list)
    makers: list[str] = field(default_factory=list)
    frozen: dict[int, str] = field(default_factory=dict)
    made: dict[Hashable, Units] = field(default_factory=dict)
    weights: dict[tuple[int, int], WeightAxis] = field(default_factory=dict)
    sizes: dict[tuple[int, tuple[str | int, ...]], ConfigSize] = field(default_factory=dict)
    positions: dict[int, float] = field(default_factory=dict)
    rescaled: list[tuple[Variable, Units]] = field(default_factory=list)

    def fresh(self, key: Hashable, count: int, layer: str) -> Units:
        """New units, or those that were made for this key before."""
        if key not in self.made:
            first = len(self.parents)
            self.parents.extend(range(first, first + count))
            self.makers.extend([layer] * count)
            self.made[key] = np.arange(first, first + count, dtype=np.intp)
        return self.made[key]

    def root(self, unit: int) -> int:
        """The unit that stands for all that are joined with this one."""
        while self.parents[unit] != unit:
            self.parents[unit] = self.parents[self.parents[unit]]
            unit = self.parents[unit]
        return unit

    def roots(self, units: Units) -> Units:
        """`root` of every unit; NONE stays."""
        return np.array([NONE if unit == NONE else self.root(unit) for unit in units.tolist()], np.intp)

    def join(self, one: Units, other: Units, why: str) -> None:
        """Units of the same position live or die together; one beside NONE is frozen."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            if NONE in (a, b):
                self.freeze(np.array([a, b]), why)
                continue
            first, second = sorted((self.root(a), self.root(b)))
            if first != second:
                self.parents[second] = first
                if second in self.frozen:
                    self.frozen.setdefault(first, self.frozen.pop(second))

    def freeze(self, units: Units, why: str) -> None:
        """These stay, and so does what is joined with them. The first reason is the one that is told."""
        for unit in {self.root(unit) for unit in units.tolist() if unit != NONE}:
            self.frozen.setdefault(unit, why)

    def index(self, variable: Variable, axis: int, units: Units, role: Role, layer: str) -> None:
        """This axis of the weight is indexed by these units."""
        axis %= len(variable.shape)
        known = self.weights.get((id(variable), axis))
        if known is None:
            self.weights[id(variable), axis] = WeightAxis(variable, axis, units, role, layer)
        elif known.units is not units:
            self.join(known.units, units, f"{layer}, which is shared")

    def size(self, layer: Layer, path: tuple[str | int, ...], units: Units) -> None:
        """This number of the layer's configuration is how many of these distinct units there are."""
        known = self.sizes.get((id(layer), path))
        if known is None:
            self.sizes[id(layer), path] = ConfigSize(layer, path, units)
        elif known.units is not units:
            self.join(known.units, units, f"{layer.name}, which is shared")

    def work(self, variable: Variable, positions: float) -> None:
        """The weight is multiplied at so many positions for one example."""
        self.positions[id(variable)] = self.positions.get(id(variable), 0.0) + positions

    def rescale(self, variable: Variable, units: Units) -> None:
        """Where units are removed, the weight is multiplied by sqrt(kept / all), as attention divides by its root."""
        if all(known is not variable for known, _ in self.rescaled):
            self.rescaled.append((variable, units))
