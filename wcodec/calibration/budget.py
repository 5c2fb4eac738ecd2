"""What may be lost, or how large a file may be; and so which of two networks is the better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from wcodec.calibration.quality import Quality
from wcodec.evaluation.metrics import POINTS


class Scored(Protocol):
    """A changed network: `attempt.Calibration`, `sharing.SharedNet`."""

    @property
    def quality(self) -> Quality: ...
    @property
    def bytes(self) -> int: ...
    @property
    def kl(self) -> float: ...
    @property
    def drop(self) -> float: ...


Network = TypeVar("Network", bound=Scored)

SAFETY: Final = 0.85
"""Part of the budget that is aimed at: the search takes the luckiest of its tries, and inputs kept apart are few."""


@dataclass(frozen=True)
class AccuracyBudget:
    """Bounds that all have to be kept; None where anything goes.

    drop:      points of accuracy, predicted (see `Verdict.drop`); where there are labels, those counted, too.
    kl:        nats of divergence.
    agreement: percent of the choices that stay, doubts taken off.
    bytes:     of the weights. With it the least divergence is the best, otherwise the least bytes are.
    """

    drop: float | None = None
    kl: float | None = None
    agreement: float | None = None
    bytes: float | None = None

    @property
    def target(self) -> float | None:
        """The divergence allowed, where one is."""
        bounds = [self.kl, None if self.drop is None else self.drop / (100 * POINTS)]
        known = [bound for bound in bounds if bound is not None]
        return min(known) if known else None

    def less(self, part: float) -> AccuracyBudget:
        """The budget with a part taken off what may be lost."""
        drop = None if self.drop is None else (1 - part) * self.drop
        return replace(self, drop=drop, kl=None if self.kl is None else (1 - part) * self.kl)

    def allows(self, one: Scored) -> bool:
        """Whether all bounds are kept."""
        found, target = one.quality, self.target
        return (
            (target is None or found.kl <= target)
            and (self.drop is None or max(found.expected, found.lost or 0.0) <= self.drop)
            and (self.agreement is None or found.agreement - found.doubtful >= self.agreement)
            and (self.bytes is None or one.bytes <= self.bytes)
        )

    def best(self, some: Sequence[Network]) -> Network | None:
        """The best of those allowed."""
        within = [one for one in some if self.allows(one)]
        if self.bytes is None:
            return min(within, key=lambda one: one.bytes, default=None)
        return min(within, key=lambda one: (one.kl, one.bytes), default=None)

    def refusal(self, some: Sequence[Scored]) -> str:
        """What was expected, and what was found at best."""
        nothing = float("nan")
        if self.bytes is not None:
            return f"expected {self.bytes:,.0f} bytes of weights at most, {_least(some, 'bytes', nothing):,.0f} at best"
        if self.agreement is not None:
            most = max((one.quality.agreement - one.quality.doubtful for one in some), default=nothing)
            return f"expected {self.agreement:g} % of the answers to agree for sure, {most:.2f} % at best"
        if self.drop is not None:
            lost = max(0.0, min((one.quality.lost or 0.0 for one in some), default=0.0))
            least = max(_least(some, "drop", nothing), lost)
            return f"expected a drop of at most {self.drop:g} points, {least:.2g} predicted at best"
        return f"expected a divergence of at most {self.kl:g} nats, {_least(some, 'kl', nothing):.2g} at best"


def _least(some: Sequence[Scored], of: str, nothing: float) -> float:
    return min((float(getattr(one, of)) for one in some), default=nothing)
