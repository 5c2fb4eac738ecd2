"""How a search stands while it goes on, and how it is ended early without losing what it found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from wcodec.evaluation.metrics import POINTS


@dataclass(frozen=True)
class SearchProgress:
    """One point of the trade-off.

    doing:      "rounding", "sharing", "training" or "searching".
    done:       how much of it is over, 0..1; None where that is not known.
    bytes:      of the weights, estimated.
    divergence: nats; in training it is larger than it will be at the end.
    allowed:    whether the budget has room for it.
    limit:      the bound that leaves no room: "max-drop", "size", ...; "" where that is not known.
    values:     whether no output is of classes: then the divergence is squared error / variance.
    """

    doing: str
    done: float | None
    bytes: int
    kl: float
    allowed: bool
    values: bool = False
    limit: str = ""

    @property
    def answer(self) -> str:
        """Whether it is in the budget, or else by which limit it is not."""
        return "yes" if self.allowed else f"no, by {self.limit}" if self.limit else "no"

    @property
    def drop(self) -> float:
        """Points of accuracy that the divergence predicts."""
        return 100 * POINTS * self.kl


ProgressCallback = Callable[[SearchProgress], None]


class OutOfTimeError(Exception):
    """A step that was at work when the time limit passed has ended without a result."""


@dataclass(frozen=True)
class TimeLimit:
    """Seconds from now on."""

    seconds: float
    began: float = field(default_factory=time.monotonic)
    processor: float = field(default_factory=time.process_time)

    def is_over(self, found: bool, required: bool) -> bool:
        """Whether a search ends, which has found something, or has to.

        Until something is found the time is that of the processor, too, which other programs take none of.
        """
        late = time.monotonic() >= self.began + self.seconds
        return late and (found or (not required and time.process_time() >= self.processor + self.seconds))


def never() -> bool:
    """Of a step without a time limit: it is never late."""
    return False


class Interruptible:
    """`with patience:` ends its block at an interrupt (KeyboardInterrupt) and remembers that it did."""

    def __init__(self) -> None:
        self.over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.over |= interrupted
        return interrupted
