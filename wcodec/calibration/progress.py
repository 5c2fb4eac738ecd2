"""Progress of a search, time limits, and interrupts that keep the best result so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wcodec.evaluation.metrics import POINTS


@dataclass(frozen=True)
class SearchProgress:
    """One point of the trade-off.

    doing:      "rounding", "sharing", "training" or "searching".
    done:       the fraction that is done, 0..1; None if it is unknown.
    bytes:      of the weights, estimated.
    divergence: in nats; during training it is larger than at the end.
    allowed:    whether it is within the budget.
    limit:      the option whose bound does not hold: "max-drop", "size", ...; "" if it is unknown.
    values:     whether all outputs predict values: then the divergence is squared error / variance.
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
        """Whether it is within the budget, or the bound that does not hold."""
        return "yes" if self.allowed else f"no, by {self.limit}" if self.limit else "no"

    @property
    def drop(self) -> float:
        """The points of accuracy that the divergence predicts."""
        return 100 * POINTS * self.kl


ProgressCallback = Callable[[SearchProgress], None]


class Interruptible:
    """A context `with patience:` that ends at an interrupt (KeyboardInterrupt) and records it."""

    def __init__(self) -> None:
        self.over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.over |= interrupted
        return interrupted
