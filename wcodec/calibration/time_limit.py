"""--time-limit: when a search ends, and what it was doing when the limit passed, and after."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

Item = TypeVar("Item")

CLOSE: Final = 1.0
"""Seconds over the limit that are not told."""


class OutOfTimeError(Exception):
    """The time limit passed during a step, which ended without a result."""


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


@dataclass(frozen=True)
class Deadline:
    """When a work that takes as many inputs as there is time for ends, by `time.monotonic`."""

    end: float = float("inf")

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now on."""
        return cls(time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Until then; 0 after it."""
        return max(0.0, self.end - time.monotonic())

    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self.end

    def part(self, share: float) -> Deadline:
        """When this part of the time that is left will be over."""
        return Deadline.after(share * self.seconds_left())

    def turns(self, count: int) -> Iterator[Deadline]:
        """A deadline for each of `count` works, told as it begins: they share the time that is then left."""
        return (self.part(1 / (count - number)) for number in range(count))

    def within(self, items: Iterable[Item]) -> Iterator[Item]:
        """As many as there is time for, one at least."""
        for item in items:
            yield item
            if self.is_over():
                return


NO_DEADLINE: Final = Deadline()


@dataclass
class Stopwatch:
    """The ends of the steps of an encoding: the name of each, and seconds by `time.monotonic`."""

    began: float = field(default_factory=time.monotonic)
    steps: list[tuple[str, float]] = field(default_factory=list)

    def ends(self, step: str) -> None:
        """A step ends now, and the next one begins."""
        self.steps.append((step, time.monotonic()))

    def overrun(self, limit: float) -> str | None:
        """A sentence on what the time after the limit, seconds, was taken by; None where there was hardly any."""
        deadline, last = self.began + limit, self.began
        late: dict[str, float] = {}
        for step, end in self.steps:
            if end > deadline:
                late[step] = late.get(step, 0.0) + end - max(last, deadline)
            last = end
        if sum(late.values()) < CLOSE:
            return None
        spent = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in late.items() if seconds >= 0.5)
        return f"--time-limit: {limit:g} s were overrun by {sum(late.values()):.0f} s: {spent}"
