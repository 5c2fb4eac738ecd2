"""--time-limit: what a search was doing when it passed, and after."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

CLOSE: Final = 1.0
"""Seconds over the limit that are not told."""


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
