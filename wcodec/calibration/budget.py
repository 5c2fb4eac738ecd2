"""The budget: the accuracy or the bytes that a network may cost, and the choice of the best network within it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from wcodec.calibration.quality import Quality, divergence_of_rise
from wcodec.errors import RecipeError
from wcodec.evaluation.metrics import POINTS
from wcodec.evaluation.output_kinds import OutputKind

if TYPE_CHECKING:
    from wcodec.calibration.session import CalibrationSession


class Scored(Protocol):
    """A changed network that was measured: `CalibrationResult`, `CodebookResult`."""

    @property
    def quality(self) -> Quality: ...
    @property
    def bytes(self) -> int: ...


Network = TypeVar("Network", bound=Scored)

SAFETY: Final = 0.85
"""The fraction of the allowed drop that is aimed at, because a search selects the trial that measured best, and
held-out inputs are few. If the sampling error exceeds the rest (see `Quality.chance`), it is subtracted instead."""

DEFAULT_DROP: Final = 0.5
"""The default bound on the drop, in points of accuracy."""
DEFAULT_LOSS: Final = 5.0
"""The default bound on the rise of a loss of values, in percent."""
DEFAULT_ERROR: Final = 0.002
"""The default bound for values without labels: the squared error divided by their variance."""


@dataclass(frozen=True)
class AccuracyBudget:
    """Bounds that must all hold; None means no bound.

    drop:      points of accuracy, predicted (see `Quality.drop`), and measured if there are labels. The sampling error
               of the prediction counts too, as far as SAFETY does not cover it.
    kl:        KL divergence in nats.
    agreement: the percentage of predictions that stay, minus the doubtful ones.
    loss:      the percentage by which the loss of an output may rise (see `Quality.loss_rise`).
    aim:       the divergence that a search aims at if `loss` is a bound; see `for_session`.
    requested: the budget before margins were subtracted, for messages.
    bytes:     of the weights (in a request: of the file). With this bound the network of the best quality is searched,
               otherwise the network of the fewest bytes.
    """

    drop: float | None = None
    kl: float | None = None
    agreement: float | None = None
    bytes: float | None = None
    loss: float | None = None
    aim: float | None = None
    requested: AccuracyBudget | None = field(default=None, compare=False, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether there is no bound."""
        return all(bound is None for bound in (self.drop, self.kl, self.agreement, self.bytes, self.loss))

    @property
    def max_kl(self) -> float | None:
        """The largest KL divergence of a search; None without a bound."""
        bounds = [self.kl, self.aim, None if self.drop is None else self.drop / (100 * POINTS)]
        return min((bound for bound in bounds if bound is not None), default=None)

    def __str__(self) -> str:
        """The bounds in words; "" without any."""
        drop = self.drop and (round(self.drop, 2) or self.drop)
        bounds = (
            (drop, "a drop of at most {:g} points"),
            (self.loss, "a loss that rises by at most {:g} %"),
            (self.kl, "at most {:g} nats"),
            (self.agreement, "{:g} % of the predictions unchanged"),
            (self.bytes, "at most {:,.0f} bytes"),
        )
        return " and ".join(words.format(bound) for bound, words in bounds if bound is not None)

    def reduce(self, part: float) -> AccuracyBudget:
        """The budget with its bounds of drop, loss and KL divergence reduced by the fraction `part`."""
        drop, kl, loss, aim = (
            None if bound is None else (1 - part) * bound for bound in (self.drop, self.kl, self.loss, self.aim)
        )
        return replace(self, drop=drop, kl=kl, loss=loss, aim=aim)

    def of_outputs(self, safety: float = SAFETY) -> AccuracyBudget:
        """The budget without the bound on bytes, with a margin on the drop and the loss."""
        drop, loss, aim = (None if bound is None else safety * bound for bound in (self.drop, self.loss, self.aim))
        return replace(self, drop=drop, loss=loss, aim=aim, bytes=None)

    def used(self, quality: Quality) -> float:
        """The largest fraction that is used of a bound, but that on bytes; above 1 if a bound does not hold."""
        return max((value / max(bound, 1e-12) for _, value, bound in self._losses(quality)), default=0.0)

    def _losses(self, quality: Quality) -> Iterator[tuple[str, float, float]]:
        """The option, what is lost, and the bound on it, but that on bytes."""
        if self.drop is not None:
            counted = max(quality.expected, quality.exchanged, quality.lost or 0.0)
            yield "max-drop", max(counted, SAFETY * (quality.drop + quality.chance)), self.drop
            yield "max-drop", 100 * POINTS * quality.kl, self.drop
        if self.kl is not None:
            yield "max-kl", quality.kl, self.kl
        if self.loss is not None:
            yield "max-loss", float("inf") if quality.loss_rise is None else quality.loss_rise, self.loss
        if self.agreement is not None:
            yield "min-agreement", 100 - (quality.agreement - quality.doubtful), 100 - self.agreement

    def for_session(self, session: CalibrationSession) -> AccuracyBudget:
        """The budget for a network: the default if no bound is set, and `aim` computed from its loss.

        Raises: RecipeError for a bound on classes if the network predicts none, or on the loss if there are no labels.
        """
        budget = self.complete(session.kinds)
        budget.check(session.kinds)
        aim = None if budget.loss is None else divergence_of_rise(session, budget.loss)
        return replace(budget, requested=budget, aim=aim)

    def or_default(self, kinds: Sequence[OutputKind]) -> AccuracyBudget:
        """The default bounds: on accuracy for classes; for values on the loss or, without labels, on the divergence."""
        values = [kind for kind in kinds if kind.values]
        labelled = any(kind.truth is not None for kind in values)
        return replace(
            self,
            drop=DEFAULT_DROP if len(values) < len(kinds) else None,
            loss=DEFAULT_LOSS if labelled else None,
            kl=DEFAULT_ERROR if values and not labelled else None,
        )

    def complete(self, kinds: Sequence[OutputKind]) -> AccuracyBudget:
        """The budget, with the default bounds if it has none, or of outputs of values if it is of points alone."""
        default = self.or_default(kinds)
        if self.is_open:
            return default
        points = self.drop is not None or self.agreement is not None
        others = (self.loss, self.kl, self.bytes)
        if points and default.drop is not None and all(bound is None for bound in others):
            return replace(self, loss=default.loss, kl=default.kl)
        return self

    def check(self, kinds: Sequence[OutputKind]) -> None:
        """Raises: RecipeError for a bound that does not apply to these outputs."""
        if all(kind.values for kind in kinds):
            for option, bound in (("--max-drop", self.drop), ("--min-agreement", self.agreement)):
                if bound is not None:
                    raise RecipeError(
                        f"{option}: expected a network that chooses classes, this one predicts values: --max-loss "
                        "PERCENT, or without labels --max-kl, bounds what they lose"
                    )
        if self.loss is not None and all(kind.truth is None for kind in kinds):
            raise RecipeError("--max-loss: expected labels (y) in --data to measure the loss, found none: see --max-kl")

    def allows(self, one: Scored) -> bool:
        """Whether all bounds hold."""
        return not self.find_broken(one)

    def find_broken(self, one: Scored) -> str:
        """The option that sets the first bound that does not hold; "" if all hold."""
        if self.bytes is not None and one.bytes > self.bytes:
            return "size"
        return next((option for option, lost, bound in self._losses(one.quality) if not lost <= bound), "")

    def best(self, some: Iterable[Network]) -> Network | None:
        """The best of the allowed networks."""
        allowed = [one for one in some if self.allows(one)]
        if self.bytes is None:
            return min(allowed, key=lambda one: one.bytes, default=None)
        return min(allowed, key=lambda one: (one.quality.kl, one.bytes), default=None)

    def refusal(self, some: Sequence[Scored]) -> str:
        """A message: the bounds as they were requested, and the best network found."""
        asked = self.requested or self
        qualities, nan = [one.quality for one in some], float("nan")
        if self.bytes is not None:
            least = min((one.bytes for one in some), default=nan)
            return f"expected {self.bytes:,.0f} bytes of weights at most, {least:,.0f} at best"
        if self.agreement is not None:
            stays = max((one.agreement - one.doubtful for one in qualities), default=nan)
            return f"expected {self.agreement:g} % of the predictions to stay, {stays:.2f} % at best"
        rise = min((one.loss_rise for one in qualities if one.loss_rise is not None), default=nan)
        lost = max(0.0, min((one.lost or 0.0 for one in qualities), default=0.0))
        drop = max(min((one.drop for one in qualities), default=nan), lost)
        if self.drop is not None and (self.loss is None or drop > self.drop):
            doubt = max((one.chance for one in qualities), default=nan) if drop <= self.drop else 0.0
            chance = f", with a sampling error of {doubt:.2g}: more examples reduce it" if doubt else ""
            most = _describe_bound(asked.drop, self.drop, drop)
            return f"expected a drop of at most {most} points, {drop:.2g} predicted at best{chance}"
        if self.loss is not None:
            most = _describe_bound(asked.loss, self.loss, rise)
            return f"expected a loss that rises by at most {most} %, {rise:.3g} % at best"
        kl = min((one.kl for one in qualities), default=nan)
        what = "an output error of at most {}" if all(one.values for one in qualities) else "at most {} nats"
        return f"expected {what.format(_describe_bound(asked.kl, self.kl, kl))}, {kl:.2g} at best"


def _describe_bound(asked: float | None, own: float | None, best: float) -> str:
    """The bound that was requested, with the one that margins leave of it if the best result is between them."""
    if asked is None or own is None or not own < best <= asked:
        return f"{own if asked is None else asked:g}"
    return f"{asked:g} ({own:g} with a margin)"
