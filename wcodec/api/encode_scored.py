"""encode --score: the largest steps whose file is within the bound on the user's own score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.api.request import EncodeRequest

if TYPE_CHECKING:
    from wcodec.calibration.score_search import ScoredFile
    from wcodec.pipeline.encoder import Encoded
    from wcodec.planning.recipe import Recipe


def encode_scored(asked: EncodeRequest, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode with the largest steps whose score is within the bound, and log each trial.

    Raises: RecipeError, BudgetError.
    """
    from wcodec.calibration.score_search import ScoreRequest, encode_by_score
    from wcodec.evaluation.score import ScoreFunction

    log = asked.listeners.log

    def report(one: ScoredFile) -> None:
        if not one.size:
            log(f"the original: {one.file_bytes:,} bytes, score {one.score:.6g}")
            return
        answer = "in" if one.allowed else "not in"
        log(f"steps x {one.size:.3g}: {one.file_bytes:,} bytes, score {one.score:.6g}, {answer} the budget")

    request = ScoreRequest(ScoreFunction.named(asked.score, asked.score_name), asked.max_drop or 0.0, asked.moments)
    return encode_by_score(source, target, recipe, request, threads=asked.threads, report=report)
