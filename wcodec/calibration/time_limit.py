"""--time-limit: the end of a search, and the steps that ran past the limit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from wcodec.model.dataclass import dataclass, field

Item = TypeVar("Item")

CLOSE: Final = 1.0
"""Seconds over the limit that are not reported."""


class OutOfTimeError(Exception):
    """The time limit passed during a step, which ended without a result."""


@dataclass(frozen=True)
class TimeLimit:
    """Seconds from now on."""

    seconds: float
    began: float = field(default_factory=time.monotonic)
    processor: float = field(default_factory=time.process_time)

    def is_over(self, found: bool, required: bool) -> bool:
        """Whether a search ends that has found a result, or that must find one.

        Until a result is found, processor time counts too, so that other programs take none of it.
        """
        late = time.monotonic() >= self.began + self.seconds
        return late and (found or (not required and time.process_time() >= self.processor + self.seconds))


def never() -> bool:
    """False: a step without a time limit is never late."""
    return False


@dataclass(frozen=True)
class Deadline:
    """The end, by `time.monotonic`, of work that uses as many inputs as there is time for."""

    end: float = float("inf")

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline this many seconds from now."""
        return cls(time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self.end - time.monotonic())

    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self.end

    def part(self, share: float) -> Deadline:
        """The deadline after this fraction of the remaining time."""
        return Deadline.after(share * self.seconds_left())

    def turns(self, count: int) -> Iterator[Deadline]:
        """Yield a deadline for each of `count` steps as it starts; they share the remaining time."""
        return (self.part(1 / (count - number)) for number in range(count))

    def within(self, items: Iterable[Item]) -> Iterator[Item]:
        """As many items as there is time for, at least one."""
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
        """Record that a step ends now, and the next one starts."""
        self.steps.append((step, time.monotonic()))

    def overrun(self, limit: float) -> str | None:
        """A sentence on the steps that took the time after the limit (seconds); None if there was hardly any."""
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
