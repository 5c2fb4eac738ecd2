"""Training without labels: a quantized network is trained to reproduce the outputs of the original, under a rate term.

Knowledge distillation (Hinton et al. 2015) with a rate constraint. The lambda (price of a bit) that ends at the budget
is unknown at first. Several short runs are trained to their end; each is measured on held-out inputs, which gives the
lambda of the next run.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.progress import Interruptible
from wcodec.calibration.quality import measure_quality
from wcodec.calibration.quantizable_weights import estimate_bytes
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import CalibrationResult, run_trial, step_factors
from wcodec.calibration.work import batch_size
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import tensorflow
from wcodec.training.answers import draw_answered
from wcodec.training.augmentation import augment, draw_mixtures
from wcodec.training.distill_state import DistillState, build_distill_state, export_weights, initialize
from wcodec.training.engine import Batch
from wcodec.training.kept_features import split_network
from wcodec.training.learning_rate import choose_rate_factor
from wcodec.training.weight_freezing import WeightFreezing

Progress = Callable[[int, int, int, float], None]


@dataclass(frozen=True)
class DistillConfig:
    """Settings for the runs of a training.

    runs:                fractions of the whole training: two runs to find lambda, a long run at that lambda, and final
                         runs that end at the budget, in which weights that oscillate between two levels are frozen.
    peak_learning_rates: factors on the learning rates at the start of each run. Those of the final runs are small, so
                         that they keep what the long run learned.
    last_learning_rate:  the factor at the end of a run; it falls linearly.
    final_runs:          number of the first run that is measured at every tick once its steps are fixed.
    usual_kl:            the divergence in nats for which the learning rates are tuned. For a smaller budget they are
                         multiplied by sqrt(budget / usual_kl), but at least by `min_lr_scale`.
    initial_lambda:      the price of a bit in the first run, as a fraction of the loss, for each weight.
    aims, aim_bytes:     the fractions of the budget that lambda aims at after each run; of its bytes.
    rise, fall:          the exponents of the fraction with which lambda rises and falls. They differ because weights
                         that a high lambda removed return slowly.
    freezing:            the part of a final run, from a fraction of it to another, in which weights are frozen.
    rescue:              factor on the lambda of the last run, and of each extra run, if no final run before it has
                         found a network within the budget.
    extra_runs:          how many more runs of that length there are at most until one has. A time limit allows none.
    change:              the smallest and the largest factor by which lambda changes.
    finer:               factor on the steps at which training starts, because large steps are hard to train.
    calibration_inputs:  number of inputs for the Hessians when the network is rounded with these finer steps.
    steps_fixed:         the fraction of a run after which the steps are rounded to the precision of the file.
    ticks:               how many times in a run the rate weights are computed; progress is reported at every TELL-th.
    """

    runs: tuple[float, ...] = (0.1, 0.15, 0.35, 0.16, 0.12, 0.12)
    peak_learning_rates: tuple[float, ...] = (1.0, 1.0, 1.0, 0.6, 0.5, 0.4)
    last_learning_rate: float = 0.03
    final_runs: int = 3
    usual_kl: float = 0.01
    min_lr_scale: float = 0.3
    initial_lambda: float = 0.7
    aims: tuple[float, ...] = (0.85,) * 6
    aim_bytes: float = 0.97
    rise: float = 1.75
    fall: float = 3.0
    freezing: tuple[float, float] = (0.1, 0.6)
    rescue: float = 0.5
    extra_runs: int = 2
    change: tuple[float, float] = (1 / 8, 4.0)
    finer: float = 0.7
    calibration_inputs: int = 2000
    steps_fixed: float = 0.8
    ticks: int = 20


CONFIG: Final = DistillConfig()
LONG: Final = DistillConfig(aims=(1.2, 1.25, 1.1, 0.95, 0.85, 0.85), fall=2.0)
"""For FEW_STEPS or more: the first runs exceed the budget, because the final runs have time to regain outputs."""
SHORT: Final = DistillConfig(
    runs=(0.1, 0.15, 0.4, 0.2, 0.15),
    peak_learning_rates=(1.0, 1.0, 1.0, 0.6, 0.3),
    initial_lambda=2.6,
    aims=(1.2, 1.0, 0.95, 0.85, 0.8),
    rescue=0.3,
)
"""For fewer than FEW_STEPS on kept features, if weights take less than a bit each at the start, most of them zeros.
Lambda begins in proportion to the weights for each bit and to the divergence allowed: from a small one it would take
several runs to rise. The first run exceeds the budget, because such a network regains its outputs faster than it loses
weights. With more steps, or more bits a weight, it is not so (see `benchmarks/NOTES.md`)."""
FEW_STEPS: Final = 5000
TELL: Final = 5
"""Progress is measured on the held-out inputs, which takes as long as several steps."""


@dataclass(frozen=True)
class _Training:
    """The objects that all runs share."""

    config: DistillConfig
    session: CalibrationSession
    start: CalibrationResult
    state: DistillState
    drawn: Callable[[], Iterator[tuple[Array, ...]]]
    answered: Iterator[Batch] | None
    lr_scale: float
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
    moved: bool = False,
    progress: Progress | None = None,
    patience: Interruptible | None = None,
) -> CalibrationResult:
    """Train `start` without labels. Returns the best network within the budget, or `start` itself.

    session:        has the original's weights, before and after the call; `fitting` has the training inputs, at least
                    2,000.
    steps, seconds: the length of the training; it ends at the first limit that is reached. With `steps` alone the
                    result is the same in every process.
    moved:          train on moved copies of images too, see `augment`.
    progress:       called with (steps done, steps in all, estimated bytes, divergence in training), about four times a
                    run.
    patience:       an interrupt ends the training, which then returns the best network so far; `patience` records it.
    Raises: RecipeError without steps and seconds, or if Keras does not run on TensorFlow.
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
            first = _round_finer(session, start) if start.step_scale and start.kl > (target or 0.0) / 2 else start
            training = _prepare(session, first, budget, steps, deadline, seed, moved, progress)
            for found in _train_runs(training, budget):
                best = budget.best([best, found]) or best
    finally:
        session.model.set_weights(before)
    return best


def _prepare(
    session: CalibrationSession,
    start: CalibrationResult,
    budget: AccuracyBudget,
    steps: int | None,
    deadline: float | None,
    seed: int,
    moved: bool,
    progress: Progress | None,
) -> _Training:
    """The objects of a training that begins from `start`, with the learning rate that the network survives."""
    size, rng = batch_size(session), np.random.default_rng(seed)
    inputs = augment(session, rng, moved=moved)
    split = split_network(session, size)
    state = build_distill_state(session, start, split)
    lr_scale = min(1.0, max(CONFIG.min_lr_scale, ((budget.max_kl or CONFIG.usual_kl) / CONFIG.usual_kl) ** 0.5))
    tried = partial(draw_mixtures, inputs, size, np.random.default_rng(seed))
    lr_scale *= choose_rate_factor(state, start, tried, lr_scale, steps)
    drawn = partial(draw_mixtures, inputs, size, rng)
    answered = state.ask and draw_answered(drawn(), state.ask, rng)
    config = choose_config(start, budget, steps, kept=split is not None)
    return _Training(config, session, start, state, drawn, answered, lr_scale, steps, deadline, progress)


def _train_runs(training: _Training, budget: AccuracyBudget) -> Iterator[CalibrationResult]:
    """The network at the end of every run, from which the next run starts. The last runs yield several networks."""
    config, lambda_, last = training.config, training.config.initial_lambda, training.start
    allowed, final = False, len(config.runs) - 1
    for number in range(len(config.runs) + config.extra_runs):
        if number > final and (allowed or training.deadline is not None):
            return
        if number >= final and not allowed:
            lambda_ *= config.rescue
        run = min(number, final)
        steps = None if training.steps is None else round(training.steps * config.runs[run])
        left = None if training.deadline is None else training.deadline - time.monotonic()
        seconds = None if left is None else left * config.runs[run] / sum(config.runs[run:])
        initialize(training.state, last)
        for last in _train_run(training, lambda_, _draw_fractions(steps, seconds), run):
            allowed = allowed or (number >= config.final_runs and budget.allows(last))
            yield last
        lambda_ *= _compute_lambda_factor(config, config.aims[run], last, budget)


def choose_config(start: CalibrationResult, budget: AccuracyBudget, steps: int | None, *, kept: bool) -> DistillConfig:
    """The settings for a network of so many bits a weight, and so many steps.

    kept: whether the first layers are not trained.
    """
    weights_a_bit = sum(one.values.size for one in start.rounded) / (8 * start.bytes)
    if budget.bytes is not None or budget.max_kl is None or steps is None:
        return CONFIG
    if steps >= FEW_STEPS:
        return LONG
    if not kept or weights_a_bit < 1:
        return CONFIG
    lambda_ = SHORT.initial_lambda * weights_a_bit * min(1.0, budget.max_kl / SHORT.usual_kl)
    return replace(SHORT, initial_lambda=max(lambda_, CONFIG.initial_lambda))


def _compute_lambda_factor(config: DistillConfig, aim: float, last: CalibrationResult, budget: AccuracyBudget) -> float:
    """The factor on lambda: more than 1 if less of the budget is used than is aimed at, less than 1 if more is."""
    if budget.bytes is not None:
        return float(np.clip((last.bytes / (config.aim_bytes * budget.bytes)) ** 2, *config.change))
    ratio = aim / max(budget.used(last.quality), 1e-12)
    return float(np.clip(ratio ** (config.rise if ratio > 1 else config.fall), *config.change))


def _round_finer(session: CalibrationSession, start: CalibrationResult) -> CalibrationResult:
    """The network rounded in the same way as `start`, with smaller steps."""
    part = -(-sum(len(batch[0]) for batch in session.fitting) // CONFIG.calibration_inputs)
    # The cached results belong to other inputs.
    bench = replace(session, fitting=session.fitting[::part], cached_rows={})
    return run_trial(bench, CONFIG.finer * start.step_scale, start.damping, step_factors(session, start))


def _draw_fractions(steps: int | None, seconds: float | None) -> Iterator[float]:
    """For each step of a run, the fraction of the run that is done."""
    began = time.monotonic()
    for step in itertools.count():
        done = max(
            0.0 if steps is None else step / max(steps, 1),
            0.0 if seconds is None else (time.monotonic() - began) / max(seconds, 1e-9),
        )
        if done >= 1:
            return
        yield done


def _train_run(
    training: _Training, lambda_: float, fractions: Iterator[float], number: int
) -> Iterator[CalibrationResult]:
    """Train one run and yield the network at its end. Final runs also yield it at every tick once the steps are
    fixed.
    """
    tf, config, kernels, tick, fixed = tensorflow(), training.config, training.state.kernels, 0, False
    price = tf.constant(np.float32(lambda_) / np.float32(kernels.latents.values.shape[0]))
    peak, last = config.peak_learning_rates[number], config.last_learning_rate
    batches = training.answered or map(Batch, training.drawn())
    freezing = WeightFreezing(kernels) if number >= config.final_runs else None
    begin, end = config.freezing
    for step, (done, batch) in enumerate(zip(fractions, batches, strict=False)):
        if int(done * config.ticks) > tick:
            tick, due = int(done * config.ticks), int(done * config.ticks) // TELL > tick // TELL
            final = fixed and number >= config.final_runs
            if final or (training.progress and due):
                found = _measure(training)
                if final:
                    yield found
                if training.progress:
                    steps = training.steps or round(step / (done * config.runs[number]))
                    over = sum(config.runs[:number]) + done * config.runs[number]
                    training.progress(round(steps * over), steps, found.bytes, found.kl)
            if freezing and begin <= done < end:
                freezing.freeze(round((end - done) * config.ticks))
            kernels.update()
        if freezing and done < end:
            freezing.sample()
        if done >= config.steps_fixed and not fixed:
            kernels.fix_steps()
            fixed = True
        factor = tf.constant(training.lr_scale * (peak + (last - peak) * done), tf.float32)
        training.state.step(batch, price, factor, False)
    yield _measure(training)


def _measure(training: _Training) -> CalibrationResult:
    """The current network and its quality."""
    latents, changed = export_weights(training.state, training.start)
    quality = measure_quality(training.session)
    others = sum(int(np.prod(weight.shape)) for weight in training.session.model.weights)
    others -= sum(one.values.size for one in latents)
    estimate = sum(estimate_bytes(one.levels) for one in latents) + 2 * others
    # The trained steps are not multiples of one step.
    return CalibrationResult(0.0, training.start.damping, latents, changed, quality, estimate)
