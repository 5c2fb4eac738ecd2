"""The interface of a sweep to the measurement of its files: the network on data, or the user's own score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from wcodec.container.dtypes import Float32
from wcodec.model import TunedTensor
from wcodec.model.dataclass import dataclass

ALLOWED: Final = 0.5
"""The largest loss in points of accuracy of the marked encoding."""


@dataclass(frozen=True)
class QualityLoss:
    """The distance of outputs from the original's on held-out inputs; None for an unknown figure.

    divergence:          KL divergence in nats (regression: relative squared error).
    predicted_drop:      points of accuracy.
    accuracy, agreement: percent.
    accuracy_drop:       points, measured by labels.
    predicted:           nats that the curvature of the outputs predicts for the error of a single tensor.
    score:               by the user's own function.
    score_drop:          the original's score minus this one.
    """

    divergence: float | None
    predicted_drop: float | None
    agreement: float | None = None
    accuracy: float | None = None
    accuracy_drop: float | None = None
    predicted: float | None = None
    score: float | None = None
    score_drop: float | None = None

    @property
    def lost(self) -> float:
        """The divergence, or the decrease of the score if there is none."""
        return (self.score_drop if self.divergence is None else self.divergence) or 0.0

    def __str__(self) -> str:
        return f"score {self.score:.6g}" if self.score is not None else f"{self.lost:.4f} nats"


class QualityOracle(Protocol):
    """Runs the model to measure losses.

    examples: number of held-out inputs, 0: unknown.
    accuracy: the original's accuracy on them in percent.
    """

    @property
    def examples(self) -> int: ...
    @property
    def accuracy(self) -> float | None: ...
    def measure_file(self, coded: Path) -> QualityLoss:
        """The loss of a .wcz."""
        ...

    def measure_tensor(self, name: str, values: Float32) -> QualityLoss | None:
        """The loss of the original with other values for one tensor; None if it is not a weight of the model."""
        ...

    def step_sizes(self, count: int) -> Sequence[float]:
        """Step sizes for calibration, the most useful first."""
        ...

    def calibrate(self, size: float, until: float) -> Mapping[str, TunedTensor] | None:
        """The weights, calibrated by error feedback for steps of this size; None past `until`, by `time.monotonic`."""
        ...
