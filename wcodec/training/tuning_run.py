"""The search of `encode --data`: kernels are rounded, then searched or trained; codebooks are trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.codebook_search import CodebookResult, search_codebooks
from wcodec.calibration.file_size_estimate import NEAR, FileSize
from wcodec.calibration.policy_search import search_policy
from wcodec.calibration.progress import Interruptible, ProgressCallback, SamplingNote, SearchProgress
from wcodec.calibration.request import OpenedSession
from wcodec.calibration.sensitivity import measure_costs
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.trial import CalibrationResult
from wcodec.calibration.vector_rounding import quantize_vectors, reserve_for_vectors
from wcodec.calibration.work import batch_size, planned_steps, planned_trials
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.runner import is_runner
from wcodec.reporting.search_page import SearchTrial, write_search_page
from wcodec.training.codebook_distillation import distill_codebooks
from wcodec.training.distillation import distill
from wcodec.training.kept_features import split_network

TRAINABLE: Final = 2000
"""The smallest number of inputs for training."""
SHARE: Final = 0.35
"""The fraction of a time limit for rounding; the rest is for training."""
COARSE: Final = 1.2
"""Relative tolerance of the step search if training follows."""
TRIES: Final = 4
"""Trials to reach a requested file size."""


@dataclass(frozen=True)
class TuningRun:
    """A search for the smallest weights within a budget: what it works on, its limits, and its notes."""

    opened: OpenedSession
    session: CalibrationSession
    started: float
    progress: ProgressCallback
    patience: Interruptible
    size: FileSize
    required: bool
    sampling: SamplingNote
    notes: list[str] = field(default_factory=list)

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit; negative after it."""
        return self.opened.request.seconds - (time.monotonic() - self.started)

    def file_bytes(self, one: CalibrationResult | CodebookResult, near: float = NEAR) -> int:
        """The estimated bytes of the file, see `FileSize.of`."""
        return self.size.of(one.bytes, lambda: self.opened.table.by_name(one.tuned()), near)

    def report(
        self, doing: str, budget: AccuracyBudget, one: CalibrationResult | CodebookResult, done: float | None = None
    ) -> None:
        """Report one point of the search."""
        self.sampling.tell(one.quality)
        self.progress(SearchProgress.of(one, doing, done, self.file_bytes(one), budget, self.opened.request.budget))


def search_weights(run: TuningRun, source: Path, budget: AccuracyBudget) -> CalibrationResult:
    """The best weights within the budget: kernels are rounded, then searched or trained; vectors are rounded last."""
    session, request, table = run.session, run.opened.request, run.opened.table
    if request.budget.bytes is not None and (measure := run.size.measure) is not None:
        return _search_size(run, budget, lambda one: measure(table.by_name(one.tuned())))
    kernels = budget.reduce(reserve_for_vectors(session))
    rounded = _round_weights(run, kernels)
    better = _search_policy(run, source, rounded, kernels) if request.search else _train(run, rounded, kernels)
    if better is rounded and _trains(run) and run.opened.request.steps is None:  # training would have reduced the loss
        better = _round_weights(run, kernels, rounded)
    return quantize_vectors(session, better, budget)


def search_codebook_weights(run: TuningRun) -> CodebookResult:
    """Codebooks with trained centroids. Raises: BudgetError if the best network exceeds the budget."""
    session, request = run.session, run.opened.request
    if request.codebooks is None or request.budget.bytes is not None:
        raise RecipeError("codebooks with --data: expected a budget of outputs (--max-drop, ...), got one of bytes")
    budget = request.budget.of_outputs()
    tell, trains = partial(run.report, "sharing", budget), _trains(run)
    wanted = AccuracyBudget() if trains and request.codebooks.clusters else budget
    found = search_codebooks(session, request.codebooks, wanted, (SHARE if trains else 1) * run.seconds_left, tell)
    if trains:
        steps, learning = request.steps or planned_steps(session), run.opened.prepare(run.opened.learning.count)
        found = distill_codebooks(
            learning, found, steps=steps, seconds=max(1.0, run.seconds_left), seed=request.seed,
            moved=request.augment is not None, patience=run.patience, progress=partial(run.report, "training", budget),
        )  # fmt: skip
    if not budget.allows(found):
        raise BudgetError(f"{session.name}: {budget.refusal([found])}")
    return found


def _trains(run: TuningRun) -> bool:
    """Whether the rounded network is trained."""
    request, learning = run.opened.request, run.opened.learning
    able = not is_runner(run.opened.model) and learning.count >= TRAINABLE
    return able and request.steps != 0 and request.search is None and not run.patience.over


def _round_weights(run: TuningRun, budget: AccuracyBudget, near: CalibrationResult | None = None) -> CalibrationResult:
    request, trains = run.opened.request, _trains(run)
    planned = trains and request.steps is None
    costs = None if near or request.sensitivity is None else measure_costs(run.session, request.sensitivity)
    coarse = replace(run.session, config=replace(run.session.config, tolerance=COARSE))
    return search_steps(
        coarse if planned and near is None else run.session,
        budget,
        seconds=(SHARE if trains else 1.0) * run.seconds_left,
        trials=planned_trials(run.session) if planned else None,
        progress=partial(run.report, "rounding", budget),
        patience=run.patience,
        near=near,
        costs=costs,
        required=run.required,
    )


def _search_size(
    run: TuningRun, budget: AccuracyBudget, measure: Callable[[CalibrationResult], int]
) -> CalibrationResult:
    """The best weights whose file has at most the requested bytes.

    The search estimates the bytes of weights alone; the other bytes of a file are measured on the first result.
    """
    most = float(run.opened.request.budget.bytes or 0)
    near = _round_weights(run, replace(budget, bytes=most))
    others = measure(quantize_vectors(run.session, near, budget)) - near.bytes
    for trial in range(TRIES):
        goal = replace(budget, bytes=most - others)
        found = near = _round_weights(run, goal, near)
        if not trial:
            found = _train(run, found, goal)
        found = quantize_vectors(run.session, found, budget)
        excess = measure(found) - most
        if excess <= 0:
            return found
        others += round(excess + 0.003 * most)
    raise BudgetError(f"{run.session.name}: expected a file of {most:,.0f} bytes, {excess:,.0f} more at best")


def _search_policy(run: TuningRun, source: Path, found: CalibrationResult, budget: AccuracyBudget) -> CalibrationResult:
    """The best of the trials that a search makes around `found`, or `found` itself."""
    search = run.opened.request.search
    if search is None or run.patience.over:
        return found
    trials: list[SearchTrial] = []

    def report(one: SearchTrial) -> None:
        trials.append(one)
        values = not run.session.predicts_classes
        run.progress(
            SearchProgress(
                "searching", len(trials) / search.trials, run.size.like(one.bytes), one.kl, one.allowed, values
            )
        )

    left, patience = run.seconds_left, run.patience
    result = search_policy(source, run.opened, found, budget, search, seconds=left, patience=patience, report=report)
    if search.page:
        write_search_page(search.page, source, result.trials, found.bytes)
    best, count = result.found, len(result.trials)
    gain = 100 * (1 - best.bytes / max(1, found.bytes))
    run.notes.append(f"search: {count} trials, {found.bytes:,} -> {best.bytes:,} bytes of weights, {gain:.1f} % fewer")
    return best


def _train(run: TuningRun, found: CalibrationResult, budget: AccuracyBudget) -> CalibrationResult:
    """The trained network, or `found` itself if no training is requested or there are few inputs."""
    request = run.opened.request
    if not _trains(run):
        return found
    seconds = None if math.isinf(request.seconds) else max(1.0, run.seconds_left)
    split = split_network(run.session, batch_size(run.session))
    learning = run.opened.prepare(run.opened.learning.count)
    if run.patience.over:  # interrupted while the inputs were prepared
        return found

    def report(step: int, steps: int, size: int, kl: float) -> None:
        allowed = (budget.max_kl is None or kl <= budget.max_kl) and (budget.bytes is None or size <= budget.bytes)
        limit = "" if allowed else "max-drop" if budget.bytes is None or size <= budget.bytes else "size"
        values = not run.session.predicts_classes
        run.progress(SearchProgress("training", step / max(steps, 1), run.size.like(size), kl, allowed, values, limit))

    return distill(
        learning,
        found,
        budget,
        steps=request.steps or planned_steps(run.session, split.kept if split else frozenset()),
        seconds=seconds,
        seed=request.seed,
        moved=request.augment is not None,
        progress=report,
        patience=run.patience,
    )
