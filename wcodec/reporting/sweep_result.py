"""The result of a sweep: the encodings of a model, and each of its tensors alone with a coarse step."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import asdict
from typing import Final, Literal

from wcodec.model.dataclass import dataclass
from wcodec.reporting.inspection import Inspection
from wcodec.reporting.quality_oracle import ALLOWED, QualityLoss
from wcodec.reporting.weight_histograms import WeightHistogram

Method = Literal["preset", "step", "calibrated"]
SCHEMA_VERSION: Final = 1
COARSE: Final = 4.0
"""The step of a sensitivity measurement, relative to that of `balanced`."""


@dataclass(frozen=True)
class Point:
    """One encoding of the whole model. `size` multiplies the steps of the preset or of calibration.

    command: makes this file; for a calibrated one, a similar file, because calibration is a search.
    """

    method: Method
    name: str
    size: float
    file_bytes: int
    weight_bytes: int
    relative_error: float
    judged: QualityLoss | None
    command: str = ""

    @property
    def label(self) -> str:
        """The preset, the multiple of its step, or "calibrated"."""
        return self.name or (f"step {self.size:g}x" if self.method == "step" else "calibrated")

    @property
    def option(self) -> str:
        """The option with which `encode` makes this file (with --data: a similar calibrated one)."""
        if self.method == "preset":
            return f"--preset {self.name}"
        return f"--step {self.size:g}x" if self.method == "step" else f"--target-size {self.file_bytes}"


@dataclass(frozen=True)
class Sensitivity:
    """One tensor encoded with a coarse step while all others keep their values.

    fine_bytes, coarse_bytes: its bytes with the step of `balanced`, and with COARSE times that step.
    relative_error:           of the tensor.
    share:                    its share of the relative error of the whole model.
    """

    name: str
    layer: str
    weights: int
    fine_bytes: int
    coarse_bytes: int
    relative_error: float
    share: float
    judged: QualityLoss | None
    user_name: str = ""

    @property
    def shown(self) -> str:
        """The name in tables."""
        return self.user_name or self.name

    @property
    def option(self) -> str:
        """The option that codes this tensor alone with COARSE times its step, which has these bytes and this error."""
        return f"--set {shlex.quote(f'{re.escape(self.shown)}:step={COARSE:g}x')}"

    @property
    def saved(self) -> int:
        """Bytes."""
        return self.fine_bytes - self.coarse_bytes

    @property
    def cost(self) -> float:
        """Loss for 1,000 bytes saved: divergence if it was measured, otherwise the share; 0 if nothing is saved."""
        lost = self.judged.lost if self.judged else self.share
        return 1000 * lost / self.saved if self.saved > 0 else 0.0


@dataclass(frozen=True)
class Sweep:
    """All measurements; `complete` is False if the time limit ended the sweep early.

    balanced, histograms: the numbers of the file with the preset `balanced`, and its weights before and after.
    """

    source_bytes: int
    tensor_bytes: int
    points: tuple[Point, ...]
    sensitivities: tuple[Sensitivity, ...]
    complete: bool
    balanced: Inspection
    histograms: tuple[WeightHistogram, ...]
    examples: int | None
    accuracy: float | None

    @property
    def best(self) -> Point | None:
        """The smallest file that loses at most ALLOWED points, measured or predicted; None if no loss is known."""
        allowed = [one for one in self.points if one.judged and _find_points_lost(one.judged) <= ALLOWED]
        return min(allowed, key=lambda one: one.file_bytes, default=None)

    def error_bar(self, point: Point) -> float | None:
        """The standard error of a lost accuracy, in points, from the number of inputs and of changed predictions.

        The loss is the mean of n numbers from {-1, 0, 1}, of which at most as many are non-zero as predictions changed.
        """
        judged = point.judged
        if not self.examples or judged is None or judged.agreement is None:
            return None
        changed = max(1.0 - judged.agreement / 100, 1.0 / self.examples)
        return 100.0 * math.sqrt(changed / self.examples)

    def to_json(self) -> dict[str, object]:
        """The keys of `sweep --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "source_bytes": self.source_bytes,
            "tensor_bytes": self.tensor_bytes,
            "complete": self.complete,
            "examples": self.examples,
            "accuracy": self.accuracy,
            "points": [
                asdict(one)
                | {
                    "ratio": self.source_bytes / one.file_bytes,
                    "tensor_ratio": self.tensor_bytes / one.file_bytes,
                    "option": one.option,
                    "label": one.label,
                    "error_bar": self.error_bar(one),
                    "best": one is self.best,
                }
                for one in self.points
            ],
            "sensitivities": [
                asdict(one)
                | {
                    "user_name": one.shown,
                    "bytes_saved": one.saved,
                    "cost_by_kilobyte": one.cost,
                    "option": one.option,
                }
                for one in self.sensitivities
            ],
        }


def _find_points_lost(judged: QualityLoss) -> float:
    """Points of accuracy, measured or predicted; infinite if neither is known."""
    lost = judged.predicted_drop if judged.accuracy_drop is None else judged.accuracy_drop
    return math.inf if lost is None else lost
