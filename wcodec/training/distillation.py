"""Tuning without labels: a rounded network is trained to answer as the original, while every bit has its price.

Knowledge distillation (Hinton et al. 2015) under a rate constraint. What a bit should cost is not known beforehand: a
few shots are trained to their end, each judged by inputs kept apart, and each sets the price of the next.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.progress import Interruptible
from wcodec.calibration.quality import measure_quality
from wcodec.calibration.quantizable_weights import estimate_bytes
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import CalibrationResult, run_trial, step_factors
from wcodec.errors import RecipeError
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.training.augmentation import Lessons, drawn, lessons
from wcodec.training.distill_state import Student, begin, reprice, settle, state, student

Progress = Callable[[int, int, int, float], None]

SHOTS: Final = (0.1, 0.15, 0.35, 0.16, 0.12, 0.12)
"""Parts of the whole time: two to find the price, a long one at it, the others to land within the target."""
PEAKS: Final = (1.0, 1.0, 1.0, 0.6, 0.5, 0.4)
"""Speeds at which they begin: landing must not shake what the long one found."""
USUAL, SLOWEST = 0.01, 0.3
"""Nats allowed for which these speeds are: for fewer they fall with their root, to this part at least."""
LANDING: Final = 3
"""First of the shots that are judged at every tick once their steps are fixed."""
FIRST: Final = 0.7
"""Price of a bit in the first shot, as a part of the loss for each weight: about right for most networks."""
AIM: Final = 0.85
"""Part of the divergence allowed that a shot aims at."""
FULL: Final = 0.97
"""Part of the bytes allowed that a shot aims at, where bytes are the budget."""
UP: Final = 1.75
DOWN: Final = 3.0
"""Powers by which a price follows the divergence; what a high price took away comes back slowly."""
CLIP: Final = (1 / 8, 4.0)
"""Least and most that a price is multiplied by."""
FINER: Final = 0.7
"""Training begins with steps smaller by this factor than those that use up the divergence allowed."""
FEW: Final = 2000
"""Inputs for the moments of the first rounding."""
LAST: Final = 0.03
"""Speed at the end of a shot, to which it falls linearly."""
SETTLED: Final = 0.8
"""Part of a shot after which the steps are fixed, as they are stored."""
TICKS: Final = 20
"""How often in a shot prices are taken anew, and progress is told."""
BATCHES: Final = (128, 32)
SLOW: Final = 0.06
"""Seconds of a step from which on the smaller batch is taken."""


@dataclass(frozen=True)
class _Run:
    """What all shots have in common."""

    session: CalibrationSession
    start: CalibrationResult
    learner: Student
    lessons: Lessons
    batch: int
    haste: float
    rng: np.random.Generator
    steps: int | None
    deadline: float | None
    progress: Progress | None


def distill(
    session: CalibrationSession,
    start: CalibrationResult,
    budget: AccuracyBudget,
    *,
    steps: int | None,
    seconds: float | None,
    seed: int,
    progress: Progress | None = None,
    patience: Interruptible | None = None,
) -> CalibrationResult:
    """The best network found from `start` on within the budget; or `start` itself.

    subject:  with the original's weights, which it gets back; `fitting` is what is trained on: 2,000 inputs at least.
    steps, seconds: of training, whichever ends first. With steps alone the result is the same on every run.
    progress: told, now and then, of (steps made, steps in all, estimated bytes, divergence in training).

    patience: an interrupt ends the training with what it found, and is remembered there.
    Raises: RecipeError where neither steps nor seconds are given, or Keras does not run on TensorFlow.
    """
    if steps is None and seconds is None:
        raise RecipeError("tuning: expected a number of steps or seconds, got neither")
    deadline = None if seconds is None else time.monotonic() + seconds
    tensorflow()
    if not any(one.step for one in start.rounded):
        return start
    before = session.model.get_weights()
    best, target = start, budget.max_kl
    try:
        with patience or Interruptible():
            rng = np.random.default_rng(seed)
            given = lessons(session, rng)
            first = _finer(session, start) if start.step_scale and start.kl > (target or 0.0) / 2 else start
            learner = student(session, first)
            batch = BATCHES[0] if deadline is None else _batch(learner, first, given)
            haste = min(1.0, max(SLOWEST, ((target or USUAL) / USUAL) ** 0.5))
            run = _Run(session, first, learner, given, batch, haste, rng, steps, deadline, progress)
            for shot in _shots(run, budget):
                best = budget.best([best, shot]) or best
    finally:
        session.model.set_weights(before)
    return best


def _shots(run: _Run, budget: AccuracyBudget) -> Iterator[CalibrationResult]:
    """The networks at the end of every shot, from which the next one starts; several at the end of the last ones."""
    price, last = FIRST, run.start
    for number, share in enumerate(SHOTS):
        steps = None if run.steps is None else round(run.steps * share)
        now = time.monotonic()
        seconds = None if run.deadline is None else (run.deadline - now) * share / sum(SHOTS[number:])
        begin(run.learner, last)
        for last in _trained(run, price, _fractions(steps, seconds), number):
            yield last
        price *= _dearer(last, run.start, budget)


def _dearer(last: CalibrationResult, start: CalibrationResult, budget: AccuracyBudget) -> float:
    """Factor on the price: up where the budget leaves room, down where it is overdrawn."""
    if budget.bytes is not None:
        return float(np.clip((last.bytes / (FULL * budget.bytes)) ** 2, *CLIP))
    ratio = AIM * (budget.max_kl or start.kl) / max(last.kl, 1e-12)
    return float(np.clip(ratio ** (UP if ratio > 1 else DOWN), *CLIP))


def _finer(session: CalibrationSession, start: CalibrationResult) -> CalibrationResult:
    """The network rounded as `start` is, by steps smaller by FINER: large ones are hard to train."""
    few = -(-sum(len(batch[0]) for batch in session.fitting) // FEW)
    # What is remembered is of other inputs.
    bench = replace(session, fitting=session.fitting[::few], cached_rows={})
    return run_trial(bench, FINER * start.step_scale, start.damping, step_factors(session, start))


def _fractions(steps: int | None, seconds: float | None) -> Iterator[float]:
    """For each step of a shot how much of it is over."""
    began = time.monotonic()
    for step in itertools.count():
        done = max(
            0.0 if steps is None else step / max(steps, 1),
            0.0 if seconds is None else (time.monotonic() - began) / max(seconds, 1e-9),
        )
        if done >= 1:
            return
        yield done


def _trained(run: _Run, price: float, fractions: Iterator[float], number: int) -> Iterator[CalibrationResult]:
    """One shot: the network at its end; in the last shots at every tick once the steps are fixed, too."""
    tf = tensorflow()
    rate, tick, settled = tf.constant(price, tf.float32), 0, False
    batches = drawn(run.lessons, run.batch, run.rng)
    for step, (done, inputs) in enumerate(zip(fractions, batches, strict=False)):
        if int(done * TICKS) > tick:
            tick = int(done * TICKS)
            landing = settled and number >= LANDING
            if landing or run.progress:
                measure_quality = _judged(run)
                if landing:
                    yield measure_quality
                if run.progress:
                    steps = run.steps or round(step / (done * SHOTS[number]))
                    over = sum(SHOTS[:number]) + done * SHOTS[number]
                    run.progress(round(steps * over), steps, measure_quality.bytes, measure_quality.kl)
            reprice(run.learner)
        if done >= SETTLED and not settled:
            settle(run.learner)
            settled = True
        speed = run.haste * (PEAKS[number] + (LAST - PEAKS[number]) * done)
        run.learner.step(inputs, rate, tf.constant([speed, 0.0 if settled else speed, speed], tf.float32))
    yield _judged(run)


def _judged(run: _Run) -> CalibrationResult:
    """The network as it is now."""
    latents, changed = state(run.learner, run.start)
    quality = measure_quality(run.session)
    others = sum(int(np.prod(weight.shape)) for weight in run.session.model.weights)
    others -= sum(one.values.size for one in latents)
    estimate = sum(estimate_bytes(one.levels) for one in latents) + 2 * others
    # No one size stands behind steps that were learned.
    return CalibrationResult(0.0, run.start.damping, latents, changed, quality, estimate)


def _batch(learner: Student, start: CalibrationResult, given: Lessons) -> int:
    """The larger batch, unless a step would take too long."""
    tf = tensorflow()
    still = tf.zeros(3)
    begin(learner, start)
    batches = drawn(given, BATCHES[0], np.random.default_rng(0))
    for _ in range(3):
        began = time.monotonic()
        learner.step(next(batches), tf.constant(0.0), still)
    return BATCHES[time.monotonic() - began > SLOW]
