"""Post-training quantisation of a network by inputs without labels: the largest steps that preserve its outputs.

The kernels are rounded one after another with error feedback (GPTQ, Frantar et al. 2022). Each is rounded for the
inputs that it gets after all kernels before it are rounded, and towards the outputs of the original (as in GPTAQ, Li et
al. 2025). The statistics of BatchNormalization follow. The KL divergence of the outputs for held-out inputs predicts
the lost accuracy. The ratios of the steps are measured; their scale and the damping are searched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.progress import Interruptible
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.time_limit import OutOfTimeError, TimeLimit
from wcodec.calibration.trial import CalibrationResult, balance_steps, factors_by_costs, run_trial, step_factors
from wcodec.errors import BudgetError


def first_scale(session: CalibrationSession) -> float:
    """The step scale that is tried first."""
    most, sum_of_kernels = session.config.first_scale
    return min(most, sum_of_kernels / len(session.kernels))


def search_steps(
    session: CalibrationSession,
    budget: AccuracyBudget,
    *,
    seconds: float = float("inf"),
    progress: Callable[[CalibrationResult], None] = lambda _: None,
    patience: Interruptible | None = None,
    near: CalibrationResult | None = None,
    trials: int | None = None,
    dampings: Sequence[float] | None = None,
    costs: Mapping[int, float] | None = None,
    required: bool = True,
) -> CalibrationResult:
    """The best way to round the network that the budget allows.

    near:     a result that nearly fits; the search goes on from there, and it is one of the trials.
    seconds:  after this time a trial ends without a result, and none is started, unless none was within the budget yet.
    trials:   after so many none is started either, with the same exception.
    required: whether one has to be; False where there is another file to take.
    progress: is called after every trial; patience: remembers an interrupt, which ends the search with what it found.
    costs:    of errors, see `sensitivity.measure_costs`: steps begin from them where that measures better.
    Raises: BudgetError where no trial is within the budget.
    """
    config, found = session.config, _Found(budget, TimeLimit(seconds), trials, required, [near] if near else [])
    dampings, factor = dampings or config.dampings, config.tolerance if near else config.first_factor
    start, late = near.step_scale if near else first_scale(session), found.is_late
    factors = (
        step_factors(session, near) if near else _choose_first_factors(session, start, dampings[0], costs or {}, late)
    )

    @cache
    def trial(damping: float, scale: float) -> CalibrationResult:
        if near is None or scale != near.step_scale:
            found.tried.append(run_trial(session, scale, damping, factors, late))
            progress(found.tried[-1])
        return found.tried[-1]

    def fits(damping: float, scale: float) -> bool:
        one, most = trial(damping, scale), budget.bytes
        return budget.allows(one) if most is None else one.bytes > most

    with (patience := patience or Interruptible()), suppress(OutOfTimeError):
        for damping in (near.damping,) if near else dampings:
            if not near and found.tried and (found.is_over() or _is_worse(trial(damping, start), found.tried, config)):
                break
            start = find_largest(partial(fits, damping), start, found.goes_on, factor, config)
    if best := budget.best(found.tried):
        return best
    raise KeyboardInterrupt if patience.over else BudgetError(f"{session.name}: {budget.refusal(found.tried)}")


@dataclass
class _Found:
    """The trials of a search, and whether it goes on."""

    budget: AccuracyBudget
    limit: TimeLimit
    trials: int | None
    required: bool
    tried: list[CalibrationResult]

    def is_late(self) -> bool:
        """Whether a trial at work ends without a result."""
        return self.limit.is_over(self.budget.best(self.tried) is not None, self.required)

    def is_over(self) -> bool:
        """Whether no trial starts once one is within the budget."""
        return self.limit.is_over(True, self.required) or (self.trials is not None and len(self.tried) >= self.trials)

    def goes_on(self) -> bool:
        """Whether another trial starts."""
        return not self.is_late() and (not self.is_over() or self.budget.best(self.tried) is None)


def _choose_first_factors(
    session: CalibrationSession, start: float, damping: float, costs: Mapping[int, float], is_late: Callable[[], bool]
) -> tuple[float, ...]:
    """The factors of `balance_steps`, or those by costs where they give fewer bytes for their divergence."""
    balanced = balance_steps(session, start, damping, is_late)
    if not costs or is_late():
        return balanced
    ways = [balanced, factors_by_costs(session, costs)]
    trials = [run_trial(session, start, damping, factors) for factors in ways]
    return ways[1] if _is_worse(trials[0], trials[1:], session.config, 1.0) else balanced


def _is_worse(
    one: CalibrationResult, others: Sequence[CalibrationResult], config: CalibrationConfig, margin: float = 1.05
) -> bool:
    """Whether `others` have fewer bytes for their KL divergence, by at least the margin."""
    scores = [other.bytes * max(other.kl, 1e-9) ** config.bytes_exponent for other in (one, *others)]
    return bool(scores[0] > margin * min(scores))


def find_largest(
    fits: Callable[[float], bool],
    start: float,
    goes_on: Callable[[], bool],
    factor: float,
    config: CalibrationConfig,
) -> float:
    """Approximately the largest scale that fits, by growing factors up or down and then by bisection.

    factor: between the first two scales. If none fits, the last one that was tried is returned.
    """
    scale = start
    inside = outside = 0.0
    for _ in range(config.max_trials):
        inside, outside = (scale, outside) if fits(scale) else (inside, scale)
        if not goes_on() or (inside and outside and outside / inside < config.tolerance):
            break
        if inside and outside:
            scale = (inside * outside) ** 0.5
        else:
            scale = scale * factor if inside else scale / factor
            factor = min(factor * factor, 4.0) if outside else factor
    return inside or scale
