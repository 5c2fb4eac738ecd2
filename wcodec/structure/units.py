"""The table of removable units: units that must be removed together are joined; each has its positions in weights."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from keras import Layer, Variable

Units = npt.NDArray[np.intp]
"""The number of the unit at each position of an axis, or NONE."""
Role = Literal["out", "in", "scale"]
NONE: Final = -1
"""A position without a removable unit, such as an input of the network."""


@dataclass(frozen=True)
class WeightAxis:
    """An axis of a weight that is indexed by units.

    units: intp[size of the axis].
    role:  out: the weight computes the units; in: it reads them; scale: it changes each unit by itself.
    layer: the name of the layer that owns the weight, for messages.
    """

    variable: Variable
    axis: int
    units: Units
    role: Role
    layer: str


@dataclass(frozen=True)
class ConfigSize:
    """A number in a layer's configuration that counts units.

    path: keys and positions, starting at the layer's `get_config()`.
    """

    layer: Layer
    path: tuple[str | int, ...]
    units: Units


@dataclass
class UnitTable:
    """Units during the walk of a network, in a disjoint-set forest (Tarjan 1975).

    Entries have the object that they belong to as their key. A layer that is called twice therefore describes its
    weights twice, and the units of both calls are joined position by position.

    is_exact: whether only units are followed whose removal is the same as setting them to zero. Otherwise units are
              followed through statistics over units (LayerNormalization), which change with the units that are kept.
    """

    parents: list[int] = field(default_factory=list)
    makers: list[str] = field(default_factory=list)
    frozen: dict[int, str] = field(default_factory=dict)
    made: dict[Hashable, Units] = field(default_factory=dict)
    weights: dict[tuple[int, int], WeightAxis] = field(default_factory=dict)
    sizes: dict[tuple[int, tuple[str | int, ...]], ConfigSize] = field(default_factory=dict)
    positions: dict[int, float] = field(default_factory=dict)
    rescaled: list[tuple[Variable, Units]] = field(default_factory=list)
    is_exact: bool = True

    def fresh(self, key: Hashable, count: int, layer: str) -> Units:
        """New units, or those that were made for this key before."""
        if key not in self.made:
            first = len(self.parents)
            self.parents.extend(range(first, first + count))
            self.makers.extend([layer] * count)
            self.made[key] = np.arange(first, first + count, dtype=np.intp)
        return self.made[key]

    def root(self, unit: int) -> int:
        """The representative of all units that are joined with this one."""
        while self.parents[unit] != unit:
            self.parents[unit] = self.parents[self.parents[unit]]
            unit = self.parents[unit]
        return unit

    def roots(self, units: Units) -> Units:
        """`root` of every unit; NONE stays NONE."""
        return np.array([NONE if unit == NONE else self.root(unit) for unit in units.tolist()], np.intp)

    def join(self, one: Units, other: Units, why: str) -> None:
        """Join units of the same position, which are then kept or removed together.

        A unit joined with NONE is frozen.
        """
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            if NONE in (a, b):
                self.freeze(np.array([a, b]), why)
                continue
            first, second = sorted((self.root(a), self.root(b)))
            if first != second:
                self.parents[second] = first
                if second in self.frozen:
                    self.frozen.setdefault(first, self.frozen.pop(second))

    def freeze(self, units: Units, why: str, *, overrides: bool = False) -> None:
        """Keep these units and all that are joined with them. The first reason is reported, or one that overrides."""
        for unit in {self.root(unit) for unit in units.tolist() if unit != NONE}:
            self.frozen[unit] = why if overrides else self.frozen.get(unit, why)

    def index(self, variable: Variable, axis: int, units: Units, role: Role, layer: str) -> None:
        """Record that these units index this axis of the weight."""
        axis %= len(variable.shape)
        known = self.weights.get((id(variable), axis))
        if known is None:
            self.weights[id(variable), axis] = WeightAxis(variable, axis, units, role, layer)
        elif known.units is not units:
            self.join(known.units, units, f"{layer}, which is shared")

    def size(self, layer: Layer, path: tuple[str | int, ...], units: Units) -> None:
        """Record that this number of the layer's configuration counts these distinct units."""
        known = self.sizes.get((id(layer), path))
        if known is None:
            self.sizes[id(layer), path] = ConfigSize(layer, path, units)
        elif known.units is not units:
            self.join(known.units, units, f"{layer.name}, which is shared")

    def work(self, variable: Variable, positions: float) -> None:
        """Record the number of positions at which the weight is multiplied for one example."""
        self.positions[id(variable)] = self.positions.get(id(variable), 0.0) + positions

    def rescale(self, variable: Variable, units: Units) -> None:
        """If units are removed, multiply the weight by sqrt(kept / all), because attention divides by this root."""
        if all(known is not variable for known, _ in self.rescaled):
            self.rescaled.append((variable, units))
