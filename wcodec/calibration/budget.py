"""The accuracy or the bytes that a network may cost, and which of several networks is the best within that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from wcodec.calibration.quality import Quality
from wcodec.evaluation.metrics import POINTS


class Scored(Protocol):
    """A changed network that was measured: `CalibrationResult`, `CodebookResult`."""

    @property
    def quality(self) -> Quality: ...
    @property
    def bytes(self) -> int: ...


Network = TypeVar("Network", bound=Scored)

SAFETY: Final = 0.85
"""Part of the allowed drop that is aimed at: a search takes the luckiest of its trials, and held-out inputs are few."""


@dataclass(frozen=True)
class AccuracyBudget:
    """Bounds that must all be kept; None where there is no bound.

    drop:      points of accuracy, predicted (see `Quality.drop`), and counted where there are labels.
    kl:        nats of KL divergence.
    agreement: percent of predictions that stay, without the doubtful ones.
    bytes:     of the weights (in a request: of the file). With it the network of the best quality is looked for,
               otherwise that of the fewest bytes.
    """

    drop: float | None = None
    kl: float | None = None
    agreement: float | None = None
    bytes: float | None = None

    @property
    def max_kl(self) -> float | None:
        """The KL divergence allowed, where there is a bound."""
        bounds = [self.kl, None if self.drop is None else self.drop / (100 * POINTS)]
        return min((bound for bound in bounds if bound is not None), default=None)

    def reduce(self, part: float) -> AccuracyBudget:
        """The budget with `part` taken off the bounds of drop and KL divergence."""
        drop, kl = (None if bound is None else (1 - part) * bound for bound in (self.drop, self.kl))
        return replace(self, drop=drop, kl=kl)

    def allows(self, one: Scored) -> bool:
        """Whether all bounds are kept."""
        quality, most = one.quality, self.max_kl
        return (
            (most is None or quality.kl <= most)
            and (self.drop is None or max(quality.expected, quality.lost or 0.0) <= self.drop)
            and (self.agreement is None or quality.agreement - quality.doubtful >= self.agreement)
            and (self.bytes is None or one.bytes <= self.bytes)
        )

    def best(self, some: Iterable[Network]) -> Network | None:
        """The best of those allowed."""
        allowed = [one for one in some if self.allows(one)]
        if self.bytes is None:
            return min(allowed, key=lambda one: one.bytes, default=None)
        return min(allowed, key=lambda one: (one.quality.kl, one.bytes), default=None)

    def refusal(self, some: Sequence[Scored]) -> str:
        """What was expected, and the best that was found."""
        qualities, nan = [one.quality for one in some], float("nan")
        if self.bytes is not None:
            least = min((one.bytes for one in some), default=nan)
            return f"expected {self.bytes:,.0f} bytes of weights at most, {least:,.0f} at best"
        if self.agreement is not None:
            most = max((one.agreement - one.doubtful for one in qualities), default=nan)
            return f"expected {self.agreement:g} % of the answers to agree for sure, {most:.2f} % at best"
        if self.drop is not None:
            lost = max(0.0, min((one.lost or 0.0 for one in qualities), default=0.0))
            drop = max(min((one.drop for one in qualities), default=nan), lost)
            return f"expected a drop of at most {self.drop:g} points, {drop:.2g} predicted at best"
        kl = min((one.kl for one in qualities), default=nan)
        return f"expected a divergence of at most {self.kl:g} nats, {kl:.2g} at best"
