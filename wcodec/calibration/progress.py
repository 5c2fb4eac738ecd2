"""Progress of a search, time limits, and interrupts that keep the best result so far."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from wcodec.calibration.budget import SAFETY, AccuracyBudget, Scored
from wcodec.calibration.quality import SPREAD, Quality, describe_divergence
from wcodec.evaluation.metrics import POINTS


@dataclass(frozen=True)
class SearchProgress:
    """One point of the trade-off.

    doing:      "rounding", "sharing", "training" or "searching".
    done:       the fraction that is done, 0..1; None if it is unknown.
    bytes:      of the weights, estimated.
    kl:         the divergence in nats; during training it is larger than at the end.
    allowed:    whether it is within the budget.
    values:     whether all outputs predict values: then the divergence is squared error / variance.
    limit:      the option whose bound does not hold: "max-drop", "size", ..., see `describe_limit`; "" if it is
                unknown.
    predicted:  points of accuracy; None: those of the divergence alone.
    chance:     points that sampling error may add to them, if they count; otherwise 0.
    """

    doing: str
    done: float | None
    bytes: int
    kl: float
    allowed: bool
    values: bool = False
    limit: str = ""
    predicted: float | None = None
    chance: float = 0.0

    @classmethod
    def of(
        cls, one: Scored, doing: str, done: float | None, size: int, aim: AccuracyBudget, asked: AccuracyBudget
    ) -> Self:
        """A network that was measured. aim: the budget of the search, which is smaller than that of the user."""
        quality, limit = one.quality, describe_limit(aim, one, asked.drop)
        return cls(doing, done, size, quality.kl, not limit, quality.values, limit, *drop_and_chance(quality))

    @property
    def answer(self) -> str:
        """Whether it is within the budget, or the bound that does not hold."""
        return "yes" if self.allowed else f"no, by {self.limit}" if self.limit else "no"

    @property
    def drop(self) -> float:
        """The points of accuracy that are predicted."""
        return 100 * POINTS * self.kl if self.predicted is None else self.predicted

    @property
    def divergence(self) -> str:
        """See `describe_divergence`."""
        return describe_divergence(self.kl, self.values)

    @property
    def prediction(self) -> str:
        """See `describe_drop`."""
        return describe_drop(self.drop, self.chance)


ProgressCallback = Callable[[SearchProgress], None]


def drop_and_chance(quality: Quality) -> tuple[float, float]:
    """The predicted points of accuracy, and what sampling error may add; 0 if SAFETY covers it."""
    return quality.drop, quality.chance if SAFETY * (quality.drop + quality.chance) > quality.drop else 0.0


def describe_drop(drop: float, chance: float) -> str:
    """The result of `drop_and_chance` in words."""
    return f"{drop:.2f} points predicted" + (f", up to {drop + chance:.2f} with sampling error" if chance else "")


def say_drop(quality: Quality) -> str:
    """The predicted drop with its likely range."""
    least, most = (part * quality.drop for part in SPREAD)
    return f"{describe_drop(*drop_and_chance(quality))} ({least:.2f} to {most:.2f} likely)"


def describe_limit(budget: AccuracyBudget, one: Scored, asked: float | None) -> str:
    """The option whose bound does not hold, and why if the predicted drop is not above the bound that was given.

    budget: what the search aims at, which is less than `asked`, the bound of the user.
    """
    limit, quality = budget.find_broken(one), one.quality
    if limit != "max-drop" or budget.drop is None or asked is None:
        return limit
    drop, chance = drop_and_chance(quality)
    if quality.lost is not None and quality.lost > budget.drop >= drop:
        return f"{limit}: {quality.lost:.2f} points lost by the labels"
    if drop + chance > asked:
        return limit
    return f"{limit}: the search allows {budget.drop if drop > budget.drop else budget.drop / SAFETY:.2f}, to be safe"


def describe_excess(drop: float | None, asked: float | None, examples: int) -> str:
    """Why a file is written whose drop by the labels is above the bound that was asked; empty if it is not."""
    if drop is None or asked is None or drop <= asked:
        return ""
    return (
        f"by the labels {drop:.2f} points are lost, more than the {asked:g} of the budget, but not by more than their "
        f"standard error: {examples:,} examples are too few to tell. More of them (--limit, --validation) measure "
        "better, and a smaller --max-drop loses less"
    )


class SamplingNote:
    """Tells once that sampling error counts, if the held-out examples are so few that it does."""

    def __init__(self, log: Callable[[str], None], held_out: int, budget: AccuracyBudget) -> None:
        self.log, self.held_out, self.is_told = log, held_out, budget.drop is None

    def tell(self, quality: Quality | None) -> None:
        """Look at one measured network, if there is one."""
        drop, chance = drop_and_chance(quality) if quality else (0.0, 0.0)
        if not chance or self.is_told:
            return
        self.is_told = True
        self.log(
            f"{self.held_out:,} held-out examples are few: sampling error may add about {100 * chance / drop:.0f} % to "
            "a predicted drop, which counts against the budget"
        )


class Interruptible:
    """A context `with patience:` that ends at an interrupt (KeyboardInterrupt) and records it.

    log:        called at an interrupt that ends nothing, see `hold`.
    has_result: whether there is a result that would be lost; True once such a context has ended.
    """

    def __init__(self, log: Callable[[str], None] = lambda _: None, *, has_result: bool = False) -> None:
        self.log, self.has_result = log, has_result
        self.over = self._is_inside = False

    def __enter__(self) -> Self:
        self._is_inside = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.over |= interrupted
        self.has_result, self._is_inside = True, False
        return interrupted

    @contextmanager
    def hold(self) -> Iterator[None]:
        """A context in which the first Ctrl-C outside of `with patience:` is only recorded once there is a result, so
        that the result is written; the next one is raised. Other threads and handlers of the user are left alone.
        """
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._is_inside or self.over or not self.has_result:
            raise KeyboardInterrupt
        self.over = True
        with suppress(RuntimeError):  # of a stream to which the interrupted code is writing
            self.log("interrupted: the best that was found is written; Ctrl-C again stops it")
