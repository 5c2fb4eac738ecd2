"""`--search N`: the policy with the fewest bytes within the budget, by N real encodings (Optuna, Akiba et al. 2019).

The first trials are the calibrated solution and the curvature policy; the next ones are sampled (TPE, Bergstra et al.
2011, or CMA-ES, Hansen 2016). If the bytes and the divergence of a trial suggest a new best, another trial scales its
steps to the budget. Trials are recorded in a journal, which several processes may share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.policy import Policy, PolicyOrigin, curvature_policy, make_origin, within
from wcodec.calibration.progress import Interruptible
from wcodec.calibration.request import LearningRequest, OpenedSession, SearchRequest, open_session
from wcodec.calibration.search_journal import SearchJournal, open_journal
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.calibration.time_limit import OutOfTimeError, never
from wcodec.calibration.trial import CalibrationResult, run_trial
from wcodec.reporting.search_page import SearchTrial

FITTED: Final = 500
CONFIG: Final = CalibrationConfig(min_examples=500, rows_per_input=10, batch_norm_examples=1000, passes=6)
"""The settings of trials: they take a third of the time of calibration, and were as good on the networks tried."""
SLOPE: Final = 0.35
"""Bytes fall approximately with this power of the divergence, which gives the penalty of a trial over the budget."""
OVER: Final = 0.05
"""An additional penalty of a trial over the budget."""
FOLLOWED: Final = 0.02
"""The smallest change of all steps, in octaves, for which a trial is followed by one at the budget."""


@dataclass(frozen=True)
class SearchResult:
    """The best network. trials: all of them in order; first: bytes of the network from which the search started."""

    found: CalibrationResult
    first: CalibrationResult
    trials: tuple[SearchTrial, ...]


Report = Callable[[SearchTrial], None]


def search_policy(
    source: Path,
    opened: OpenedSession,
    first: CalibrationResult,
    budget: AccuracyBudget,
    search: SearchRequest,
    *,
    seconds: float = math.inf,
    patience: Interruptible,
    report: Report = lambda _: None,
) -> SearchResult:
    """The network of the fewest bytes within the budget: `first`, or one that is found around it.

    An interrupt ends the search with the best result so far.
    Raises: RecipeError if Optuna is missing or the journal belongs to another search.
    """
    request, session = opened.request, _prepare(opened)
    journal = open_journal(search.journal, search.settings, search.sampler, request.seed, resume=search.resume)
    origin = journal.keep_origin(make_origin(session, first))
    journal.enqueue({})
    journal.enqueue(curvature_policy(session, origin))
    journal.enqueue({name: -0.15 for name in origin.names if name.startswith("weights")})
    made: dict[int, CalibrationResult] = {}
    job = _Job(source, request, origin, budget, replace(search, executor=None), time.time() + seconds)
    with patience:
        if patience.over:  # interrupted while the inputs were prepared
            raise KeyboardInterrupt
        if search.workers > 1 or search.executor:
            _run_workers(job, journal, search, report)
        else:
            _run_trials(job, journal, session, made, report)
    trials = journal.trials()
    for one in sorted((one for one in trials if one.allowed and one.bytes < first.bytes), key=lambda one: one.bytes):
        found = made.get(one.number) or _try(session, origin, one.policy)
        if budget.allows(found) and found.bytes < first.bytes:
            return SearchResult(found, first, trials)
    return SearchResult(first, first, trials)


def _prepare(opened: OpenedSession) -> CalibrationSession:
    """A session for trials, which need not be as exact as those of calibration."""
    seed, table = opened.request.seed, opened.table
    return prepare_session(
        opened.model, opened.learning, opened.held_out, most=FITTED, seed=seed, table=table, config=CONFIG
    )


@dataclass(frozen=True)
class _Job:
    """The arguments of a worker process. until: seconds since the epoch, after which no trial starts."""

    source: Path
    request: LearningRequest
    origin: PolicyOrigin
    budget: AccuracyBudget
    search: SearchRequest
    until: float = field(default=math.inf)


def _run_trials(
    job: _Job,
    journal: SearchJournal,
    session: CalibrationSession,
    made: dict[int, CalibrationResult],
    report: Report = lambda _: None,
) -> None:
    """Run trials until the journal has all of them; `made` keeps the best."""
    origin = job.origin
    while journal.count() < job.search.trials and time.time() < job.until and not journal.is_stopped():
        trial = journal.ask(origin.names)
        try:
            found = _try(session, origin, trial.policy, lambda: time.time() > job.until)
        except OutOfTimeError:
            return
        allowed = job.budget.allows(found)
        one = replace(trial, bytes=found.bytes, kl=found.kl, allowed=allowed)
        best = min((each.bytes for each in journal.trials() if each.allowed), default=origin.bytes)
        if allowed and found.bytes < best:
            made.clear()
            made[one.number] = found
        if (follower := _scale_to_budget(one, origin, best)) is not None:
            journal.enqueue(follower)
        journal.tell(one, _compute_score(one, origin))
        report(one)


def _try(
    session: CalibrationSession, origin: PolicyOrigin, policy: Policy, is_late: Callable[[], bool] = never
) -> CalibrationResult:
    scale, damping, factors, kept = origin.at(policy)
    return run_trial(session, scale, damping, factors, is_late, kept)


def _compute_score(one: SearchTrial, origin: PolicyOrigin) -> float:
    """The logarithm of the bytes relative to the origin's, plus the penalty of a trial over the budget."""
    charged = 0.0 if one.allowed else OVER + SLOPE * max(0.0, _measure_distance(one, origin))
    return math.log(max(1, one.bytes) / max(1, origin.bytes)) + charged


def _measure_distance(one: SearchTrial, origin: PolicyOrigin) -> float:
    return math.log(max(min(one.kl, 1e9), 1e-12) / max(origin.kl, 1e-12))


def _scale_to_budget(one: SearchTrial, origin: PolicyOrigin, best: int) -> Policy | None:
    """The same policy with its steps scaled to the budget, if its bytes and divergence suggest a new best."""
    promised = math.log(max(1, one.bytes)) + SLOPE * _measure_distance(one, origin)
    octaves = within("scale", one.policy["scale"] - 0.5 * _measure_distance(one, origin) / math.log(2.0))
    moved = abs(octaves - one.policy["scale"]) > FOLLOWED
    return {**one.policy, "scale": octaves} if moved and promised < math.log(max(1, best)) else None


def _run_workers(job: _Job, journal: SearchJournal, search: SearchRequest, report: Report) -> None:
    """Run trials in several processes, each with its own network; the results in the journal are reported here."""
    own = None if search.executor else ProcessPoolExecutor(search.workers, mp_context=get_context("spawn"))
    executor = search.executor or own
    if executor is None:
        return
    told = journal.count()
    try:
        left = [executor.submit(run_worker, job, number) for number in range(max(1, search.workers))]
        every = list(left)
        while left:
            left = list(wait(left, timeout=1.0).not_done)
            trials = journal.trials()
            for one in trials[told:]:
                report(one)
            told = len(trials)
        for future in every:
            future.result()
    except KeyboardInterrupt:
        journal.stop()
        raise
    finally:
        if own:
            own.shutdown(cancel_futures=True)


def run_worker(job: _Job, number: int) -> None:
    """The trials of one process, which may run on another machine."""
    search = job.search
    journal = open_journal(search.journal, search.settings, search.sampler, job.request.seed + 1 + number, resume=True)
    _run_trials(job, journal, _prepare(open_session(job.source, job.request)), {})
