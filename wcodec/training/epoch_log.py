"""Lines of text about a training with labels: one for each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from wcodec.calibration.file_size_estimate import FileSize
from wcodec.calibration.quality import Z
from wcodec.calibration.request import OpenedSession
from wcodec.training.candidate import Candidate, tuned_weights
from wcodec.training.training_loop import TrainingState
from wcodec.training.validation import ValidationSet


@dataclass(frozen=True)
class EpochLog:
    """Describes a training in lines of text. told: bytes of a file by their estimate, as a line of it said."""

    opened: OpenedSession
    validation: ValidationSet
    size: FileSize
    told: dict[int, int] = field(default_factory=dict)

    def describe(self, now: TrainingState, candidate: Candidate, loss: float | None) -> str:
        """A line about one network. loss: of the epoch; None before the first epoch."""
        score = ", ".join(
            f"loss {after.loss:.4g} (before {before.loss:.4g})"
            if after.accuracy is None or before.accuracy is None
            else f"{after.accuracy:.2f} % on the held-out examples (before {before.accuracy:.2f}, standard error "
            f"{after.drop_error:.2f})"
            for before, after in zip(self.validation.scores, candidate.scores, strict=True)
        )
        table = self.opened.table
        size = self.size.of(candidate.bytes, lambda: table.by_name(tuned_weights(candidate)))
        self.told[candidate.bytes] = size
        budget = self.opened.request.budget
        if limit := self.validation.find_broken(candidate, budget):
            doubtful = all(each.lost <= each.bound for each in self.validation.losses(candidate, budget))
            chance = f", counting {Z:.2f} standard errors" if limit != "size" and doubtful else ""
            score += f", not in the budget ({limit}{chance})"
        best = now.best[0].bytes if now.best else None
        smallest = "" if best is None else f"; best {self.told.setdefault(best, self.size.like(best)):,} bytes"
        if loss is None:
            return f"rounded without labels: about {size:,} bytes, {score}{smallest}"
        epoch = f"epoch {now.epochs} of {self.opened.request.epochs}"
        return f"{epoch}: about {size:,} bytes, {score}, loss in training {loss:.4f}{smallest}"
