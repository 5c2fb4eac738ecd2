"""The policy of a search: changes to the steps of groups of kernels, relative to the calibrated solution, and the
weights and units of each group that are set to zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from wcodec.calibration.kept_parts import KeptParts
from wcodec.calibration.quantizable_weights import initial_steps
from wcodec.calibration.sensitivity import default_kind, measure_costs
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import CalibrationResult, step_factors

GROUPS: Final = 8
"""The number of groups of neighbouring kernels whose steps change together. More groups would need more trials."""
RANGES: Final = {
    "scale": (-1.0, 1.0),
    "group": (-1.5, 1.5),
    "damping": (-2.0, 2.0),
    "weights": (-1.0, 1.0),
    "units": (-0.4, 0.4),
}
"""The range of the search around its origin, in octaves. Of weights and units all are kept from 0 octaves on, so that
half of the range prunes nothing."""

OF_GROUP: Final = ("group", "weights", "units")
"""The dimensions that each group has."""

Policy = Mapping[str, float]
"""Octaves by name: of all steps ("scale"), of the damping, and of each group the steps ("group 3") and the fractions of
weights and units that are kept ("weights 3", "units 3")."""


@dataclass(frozen=True)
class PolicyOrigin:
    """The start of a search: the solution of calibration.

    factors: on the step of each kernel, see `trial.balance_steps`.
    groups:  of each kernel; kernels: its index in `model.weights`.
    narrow:  of each kernel whether units may be set to zero: not those of the network's outputs.
    """

    step_scale: float
    damping: float
    factors: tuple[float, ...]
    groups: tuple[int, ...]
    kernels: tuple[int, ...]
    narrow: tuple[bool, ...]
    bytes: int
    kl: float

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions of the search."""
        count = max(self.groups) + 1
        return ("scale", "damping", *(f"{word} {number}" for word in OF_GROUP for number in range(count)))

    def at(self, policy: Policy) -> tuple[float, float, tuple[float, ...], dict[int, KeptParts]]:
        """Step scale, damping, factors and kept parts of a policy: the arguments of `run_trial`."""
        scale = self.step_scale * 2.0 ** policy.get("scale", 0.0)
        damping = min(1.0, self.damping * 2.0 ** policy.get("damping", 0.0))
        moved = (policy.get(f"group {group}", 0.0) for group in self.groups)
        factors = tuple(f * 2.0**octaves for f, octaves in zip(self.factors, moved, strict=True))

        def keep_fraction(word: str, group: int) -> float:
            return float(2.0 ** min(0.0, policy.get(f"{word} {group}", 0.0)))

        parts = {
            kernel: KeptParts(keep_fraction("weights", group), keep_fraction("units", group) if narrow else 1.0)
            for kernel, group, narrow in zip(self.kernels, self.groups, self.narrow, strict=True)
        }
        return scale, damping, factors, parts


def within(name: str, octaves: float) -> float:
    """The nearest value in the range of the search."""
    low, high = RANGES[name.split(" ", maxsplit=1)[0]]
    return min(high, max(low, octaves))


def make_origin(session: CalibrationSession, found: CalibrationResult) -> PolicyOrigin:
    """The origin of a search, from a calibration result."""
    sizes = [kernel.original.size for kernel in session.kernels]
    count = min(GROUPS, len(sizes))
    groups = [min(count - 1, place * count // len(sizes)) for place in range(len(sizes))]
    last = {kernel.index for kernel in session.groups[-1].kernels}
    kernels = tuple(kernel.index for kernel in session.kernels)
    narrow, factors = tuple(index not in last for index in kernels), step_factors(session, found)
    return PolicyOrigin(found.step_scale, found.damping, factors, tuple(groups), kernels, narrow, found.bytes, found.kl)


def curvature_policy(session: CalibrationSession, origin: PolicyOrigin) -> dict[str, float]:
    """The policy that curvature gives: c s^2 is equal for all kernels, so that a bit reduces the loss equally in each.

    The mean of all steps is unchanged; the octaves of a group are the mean of its kernels'.
    """
    costs = measure_costs(session, default_kind(session))
    now = initial_steps(session.kernels, origin.step_scale, origin.factors, session.config.size_exponent)
    known = [(at, one) for at, one in enumerate(session.kernels) if now[one.index] and one.index in costs]
    octaves = {at: -0.5 * math.log2(costs[one.index]) - math.log2(now[one.index]) for at, one in known}
    mean = sum(octaves.values()) / max(1, len(octaves))
    found = {}
    for group in range(max(origin.groups) + 1):
        own = [octaves[at] - mean for at in octaves if origin.groups[at] == group]
        found[f"group {group}"] = within("group", sum(own) / len(own)) if own else 0.0
    return found
