"""`encode --score`: the largest steps whose file satisfies a bound on the user's own score. No framework is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.external_moments import round_by_moments
from wcodec.calibration.step_search import find_largest
from wcodec.container.dtypes import Float32
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.score import Score, ScoreFunction
from wcodec.files import whole_file
from wcodec.model import TunedTensor
from wcodec.pipeline.encoder import NOTHING_TUNED, Encoded, encode
from wcodec.planning.recipe import PER_CHANNEL, SIZELESS, Recipe
from wcodec.reporting.quality_oracle import QualityLoss

SEARCH: Final = CalibrationConfig(max_trials=12, tolerance=1.05)
"""At most a dozen evaluations; steps that differ by 5 % or less count as equal."""


@dataclass(frozen=True)
class ScoreRequest:
    """The request of a search by score.

    drop:    the largest decrease of the score from that of the source, in its own units, 0 or more.
    moments: a file for `round_by_moments`; None: the weights alone.
    """

    score: ScoreFunction
    drop: float
    moments: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.drop < math.inf:
            raise RecipeError(f"--max-drop: expected 0 or more, in the units of the score, got {self.drop:g}")


@dataclass(frozen=True)
class ScoredFile:
    """One encoding. size: the factor on the preset's steps; drop: the source's score minus the file's."""

    size: float
    file_bytes: int
    score: float
    drop: float
    allowed: bool


Report = Callable[[ScoredFile], None]


def encode_by_score(
    source: Path, target: Path, recipe: Recipe, request: ScoreRequest, *, threads: int = 0, report: Report
) -> Encoded:
    """Write the smallest .wcz of `source` whose score decreases by at most the requested drop.

    report: called with each file that is tried; the score of the source comes first, with size 0.
    Raises: RecipeError if the recipe fixes all steps, or if the score fails; BudgetError if no file is allowed.
    """
    refuse_fixed_steps(recipe)
    tried: list[ScoredFile] = []
    original = request.score.measure(source).value
    report(ScoredFile(0.0, source.stat().st_size, original, 0.0, True))

    def make(size: float, file: Path) -> Encoded:
        tuned: Mapping[str, TunedTensor] = NOTHING_TUNED
        if request.moments is not None:
            tuned = round_by_moments(source, request.moments, recipe, size).tuned
        return encode(source, file, recipe, tuned=tuned, size=size, threads=threads)

    with TemporaryDirectory(prefix="wcodec-") as folder, whole_file(target, source) as temporary:

        def fits(size: float) -> bool:
            file = Path(folder) / f"{source.name}.wcz"
            made = make(size, file).file_bytes
            value = request.score.measure(file).value
            tried.append(ScoredFile(size, made, value, original - value, original - value <= request.drop))
            report(tried[-1])
            return tried[-1].allowed

        find_largest(fits, 1.0, lambda: True, SEARCH.first_factor, SEARCH)
        encoded = make(_choose_best(source, tried, request, original).size, temporary)
    return replace(encoded, notes=(*encoded.notes, f"{len(tried)} files were scored"))


def refuse_fixed_steps(recipe: Recipe) -> None:
    """Raises: RecipeError if the recipe fixes all steps."""
    options = recipe.options
    if recipe.max_error or recipe.target_bytes or recipe.target_ratio or options.lossless:
        raise RecipeError("--score: expected no other budget and nothing lossless, because it varies the steps")
    fixed = [word for word in ("bits", "clusters", "step") if getattr(options, word) is not None]
    if fixed or options.quantizer in {*PER_CHANNEL, *SIZELESS, "kmeans", "product"}:
        found = f"--{fixed[0]}" if fixed else f"the quantizer {options.quantizer}"
        raise RecipeError(f"--score: expected a quantizer whose steps can vary, got {found}")


def _choose_best(source: Path, tried: Sequence[ScoredFile], request: ScoreRequest, original: float) -> ScoredFile:
    allowed = [one for one in tried if one.allowed]
    if not allowed:
        most = max(one.score for one in tried)
        raise BudgetError(
            f"{source.name}: expected a score of {original - request.drop:.6g} or more "
            f"({original:.6g} less {request.drop:g}), got {most:.6g} at best"
        )
    return min(allowed, key=lambda one: one.file_bytes)


@dataclass(frozen=True)
class ScoreOracle:
    """A `sweep.QualityOracle` with the user's own score. It does not measure single tensors."""

    score: ScoreFunction
    original: Score
    examples: int = 0
    accuracy: float | None = None

    def measure_file(self, coded: Path) -> QualityLoss:
        """The score of the finished file."""
        value = self.score.measure(coded).value
        return QualityLoss(None, None, score=value, score_drop=self.original.value - value)

    def measure_tensor(self, name: str, values: Float32) -> QualityLoss | None:
        """None: a score for each tensor would take too long."""
        return None

    def step_sizes(self, count: int) -> Sequence[float]:
        """None: there is no calibration."""
        return ()

    def calibrate(self, size: float, until: float = float("inf")) -> Mapping[str, TunedTensor] | None:
        """Empty: there is no calibration."""
        return NOTHING_TUNED
