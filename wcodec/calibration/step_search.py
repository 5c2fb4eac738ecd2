"""One-shot quantisation of a network by unlabelled inputs: the largest steps that keep its answers.

The kernels are rounded one after another with error feedback (GPTQ, Frantar et al. 2022), each for the inputs that it
meets once all before it are rounded, and aimed at what the original computed (as GPTAQ, Li et al. 2025); the statistics
of BatchNormalization follow; the divergence of the answers for inputs kept apart tells what accuracy it costs.
How steps differ between kernels is measured; their size and the damping are searched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.progress import Interruptible
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.calibration.trial import CalibrationResult, balance_steps, run_trial, step_factors
from wcodec.errors import BudgetError
from wcodec.evaluation.examples import Examples

if TYPE_CHECKING:
    from keras import Model


DAMPINGS: Final = (0.1, 0.01)
SIZES: Final = 8
"""Attempts for one damping."""
CLOSE: Final = 1.05
"""Sizes this near to one another are not told apart."""
STRIDE: Final = 2.0**0.5
SLOPE: Final = 0.35
START: Final = (3.4, 16.0)
"""First steps tried, in rms of the largest kernel: at most the first number, and the second over the kernels."""


def calibrate(
    model: Model,
    examples: Examples,
    budget: float,
    *,
    most: int = 2000,
    seed: int = 0,
    seconds: float = float("inf"),
    progress: Callable[[CalibrationResult], None] | None = None,
) -> CalibrationResult:
    """The smallest way to round `model` that is predicted to cost at most `budget` points of accuracy.

    examples: unlabelled; some are kept apart to measure on, at most `most` are fitted to.
    seconds:  no attempt is begun after this time.
    progress: told of every attempt.

    Raises: RecipeError, see `prepare`; BudgetError where no attempt is within the budget.
    """
    session = prepare_session(model, examples, most=most, seed=seed)
    return search_steps(session, AccuracyBudget(drop=budget), seconds=seconds, progress=progress)


def search_steps(
    session: CalibrationSession,
    budget: AccuracyBudget,
    *,
    seconds: float = float("inf"),
    progress: Callable[[CalibrationResult], None] | None = None,
    patience: Interruptible | None = None,
    near: CalibrationResult | None = None,
    dampings: Sequence[float] = DAMPINGS,
) -> CalibrationResult:
    """`calibrate` of a network that is on the bench already, by any budget.

    near:     an attempt that nearly fits; the search goes on from there.
    seconds:  no attempt is begun after this time, unless none was within the budget yet.
    patience: an interrupt ends the search with what it found, and is remembered there; if it found any.

    Raises: BudgetError where no attempt is within the budget.
    """
    deadline = time.monotonic() + seconds
    cap, slope = START
    start = near.size if near else min(cap, slope / len(session.kernels))
    factors = step_factors(session, near) if near else balance_steps(session, start, dampings[0])
    tried: list[CalibrationResult] = []

    @cache
    def tried_at(damping: float, size: float) -> CalibrationResult:
        tried.append(run_trial(session, size, damping, factors))
        if progress:
            progress(tried[-1])
        return tried[-1]

    def fits(damping: float, size: float) -> bool:
        one = tried_at(damping, size)
        return one.bytes > budget.bytes if budget.bytes is not None else budget.allows(one)

    def goes_on() -> bool:
        return time.monotonic() < deadline or budget.best(tried) is None

    patience = patience or Interruptible()
    with patience:
        for damping in (near.damping,) if near else dampings:
            if tried and (time.monotonic() >= deadline or _is_worse(tried_at(damping, start), tried)):
                break
            start = _find_largest(partial(fits, damping), start, goes_on, CLOSE if near else STRIDE)
    best = budget.best(tried)
    if best is None and patience.over:
        raise KeyboardInterrupt
    if best is None:
        raise BudgetError(f"{session.model.name}: {budget.refusal(tried)}")
    return best


def _is_worse(one: CalibrationResult, others: Sequence[CalibrationResult]) -> bool:
    """Whether others are much smaller for their divergence; bytes go about with its power -SLOPE."""
    scores = [other.bytes * max(other.kl, 1e-9) ** SLOPE for other in (one, *others)]
    return bool(scores[0] > 1.05 * min(scores))


def _find_largest(fits: Callable[[float], bool], start: float, in_time: Callable[[], bool], factor: float) -> float:
    """About the largest size that fits: up or down in growing strides, then between the nearest two.

    factor: the first stride.
    """
    size = start
    inside = outside = 0.0
    for _ in range(SIZES):
        if fits(size):
            inside = size
        else:
            outside = size
        if not in_time() or (inside and outside and outside / inside < CLOSE):
            break
        if inside and outside:
            size = (inside * outside) ** 0.5
        else:
            size = size * factor if inside else size / factor
            factor = min(factor * factor, 4.0) if outside else factor
    return inside or size
