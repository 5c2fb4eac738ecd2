"""The starting point of training with labels: the network rounded without labels, which is also a candidate result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.budget import SAFETY, AccuracyBudget
from wcodec.calibration.request import OpenedSession
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.calibration.trial import CalibrationResult
from wcodec.calibration.vector_rounding import quantize_vectors
from wcodec.calibration.work import planned_steps, planned_trials
from wcodec.container.dtypes import round_step
from wcodec.errors import BudgetError
from wcodec.evaluation.examples import hold_out
from wcodec.evaluation.keras_backend import keep_weights, read_values
from wcodec.training.candidate import Candidate, QuantizedTensor, assign_weights, snapshot_and_score
from wcodec.training.distillation import distill
from wcodec.training.epoch import TrainingData
from wcodec.training.qat_state import QatState, initialize
from wcodec.training.validation import ValidationSet

if TYPE_CHECKING:
    from keras import Model


MOMENTS: Final = 1000
"""Inputs for the Hessians. Few are enough, because the rounded network is trained afterwards."""
TRAINABLE: Final = 2000
"""The smallest number of examples for training without labels."""
STEPS: Final = 1000
SHARE: Final = 0.35
"""Part of the time that is left for the rounding before this training."""
SMALL: Final = 0.1
"""Points of accuracy that calibration may lose at the start even if the budget is smaller;"""
SMALL_RISE: Final = 1.0
"""and the percentage by which the loss may rise."""
KERNELS: Final = 0.014
"""Learning rate of kernels, as a fraction of their root mean square, or of their step if that is larger."""
VECTORS: Final = (0.01, 1e-3)
"""Learning rate of vectors: as a fraction of their largest value, and its minimum."""
UPDATES: Final = 2000
SLOWEST: Final = 0.3
"""If training has fewer steps than UPDATES, the learning rates are multiplied by sqrt(steps / UPDATES), but at least by
SLOWEST."""
FINE: Final = 32.0
"""The largest value of a vector, in its initial steps."""
PLAIN: Final = (64.0, 32.0, 16.0, 8.0)
"""The largest weight in steps, for the networks of `round_plainly`."""


def round_without_labels(
    opened: OpenedSession, validation: ValidationSet, budget: AccuracyBudget, seconds: float
) -> tuple[tuple[Candidate, ...], CalibrationResult | None]:
    """Networks within the budget that are found without training, and the rounded network that training starts from.

    seconds: after which the search ends; if none was found until then, the second is None.
    The network has its original weights, before and after the call.
    """
    session = _prepare(opened, MOMENTS)
    drop, loss = (
        None if bound is None or budget.bytes is not None else max(bound, least)
        for bound, least in ((budget.drop, SMALL), (budget.loss, SMALL_RISE))
    )
    wanted = AccuracyBudget(drop=drop, bytes=budget.bytes, loss=loss).for_session(session)
    safe = budget.of_outputs()
    tried: list[CalibrationResult] = []
    try:
        best = search_steps(
            session,
            wanted,
            seconds=seconds,
            dampings=session.config.dampings[:1],
            progress=tried.append,
            required=math.isinf(seconds),
        )
        best = quantize_vectors(session, best, wanted)
    except BudgetError:
        if not tried:
            return (), None
        best = min(tried, key=lambda one: one.kl)
    nets: list[Candidate] = []
    for one in (best, *sorted(tried, key=lambda one: one.bytes)):
        if one.bytes >= best.bytes:
            nets.append(score_calibration(opened.model, one, validation, safe))
            if validation.allows(nets[-1], budget):
                return tuple(nets), one
    return tuple(nets), best


def train_without_labels(
    opened: OpenedSession, validation: ValidationSet, budget: AccuracyBudget, seconds: float = float("inf")
) -> tuple[Candidate, ...]:
    """The network that `--data --tune STEPS` would find. Empty if it exceeds the budget, or if there are few
    examples, or no time.
    """
    deadline = Deadline.after(seconds)
    bounds = [bound for bound in (budget.drop, budget.loss) if bound is not None]
    if not bounds or min(bounds) <= 0 or opened.learning.count < TRAINABLE or deadline.is_over():
        return ()
    session, seed = _prepare(opened, opened.learning.count), opened.request.seed
    wanted = AccuracyBudget(drop=budget.drop, loss=budget.loss).for_session(session).reduce(1 - SAFETY)
    try:
        few, share = _prepare(opened, MOMENTS), SHARE * deadline.seconds_left()
        trials = 2 * planned_trials(few)
        first = search_steps(few, wanted, seconds=share, trials=trials, required=math.isinf(seconds))
    except BudgetError:
        return ()
    left = None if math.isinf(seconds) else deadline.seconds_left()
    steps = min(STEPS, planned_steps(session))
    found = quantize_vectors(session, distill(session, first, wanted, steps=steps, seconds=left, seed=seed), wanted)
    net = score_calibration(opened.model, found, validation, wanted)
    return (net,) if validation.allows(net, budget) else ()


def _prepare(opened: OpenedSession, most: int) -> CalibrationSession:
    """A calibration session on the training examples. It holds out some of these, because the labels judge on the
    others.
    """
    learning, held_out = hold_out(opened.learning, opened.predictions)
    return prepare_session(opened.model, learning, held_out, most=most, seed=opened.request.seed, table=opened.table)


def round_plainly(
    state: QatState, training: TrainingData, validation: ValidationSet, deadline: Deadline = NO_DEADLINE
) -> tuple[Candidate, ...]:
    """The network rounded to the nearest level, with as many of PLAIN as there is time for, at least one.

    The network keeps its weights.
    """
    before, nets = state.model.get_weights(), []
    for fine in deadline.within(PLAIN):
        initialize(state, fine)
        nets.append(snapshot_and_score(state, training.normalizing, validation))
        state.model.set_weights(before)
    return tuple(nets)


def score_calibration(
    model: Model, found: CalibrationResult, validation: ValidationSet, safe: AccuracyBudget
) -> Candidate:
    """A calibration result, scored by the labels. The network keeps its weights.

    safe: the budget with the margin of predictions.
    """
    rounded = tuple(QuantizedTensor(one.index, one.levels, one.step) for one in found.rounded if one.step)
    one = Candidate(rounded, found.statistics, found.bytes, (), not safe.is_open and safe.allows(found))
    with keep_weights(model):
        assign_weights(model, one)
        return replace(one, scores=validation.score(model))


def initialize_from_rounding(
    state: QatState, nets: Sequence[Candidate], validation: ValidationSet, budget: AccuracyBudget
) -> None:
    """Set the training state to the coarsest of the networks of `round_plainly` within the budget, or to the first."""
    allowed = [fine for fine, net in zip(PLAIN, nets, strict=False) if validation.allows(net, budget)]
    initialize(state, allowed[-1] if allowed else PLAIN[0])


def initialize_from_calibration(state: QatState, found: CalibrationResult, updates: int) -> None:
    """Set the training state from a calibration result, and assign its statistics to the network.

    updates: the number of steps in the whole training.
    """
    scale = float(np.clip((updates / UPDATES) ** 0.5, SLOWEST, 1.0))
    for index, array in found.statistics:
        state.model.weights[index].assign(array)
    known = {one.index: one for one in found.rounded if one.step}
    latents, steps, rates = [], [], []
    for index, weight, kernel in zip(state.indices, state.group.weights, state.group.are_kernels, strict=True):
        if index in known and kernel:
            one = known[index]
            latents.append(one.values)
            steps.append(one.step)
            rms = float(np.sqrt(np.mean(np.square(one.values)))) if one.values.size else 1.0
            rate = KERNELS * max(rms, 1.0)
        else:
            values = read_values(weight)
            top = float(np.abs(values).max(initial=0.0))
            steps.append(round_step(max(top, 0.05) / FINE))
            latents.append(values / np.float32(steps[-1]))
            rate = max(VECTORS[0] * top, VECTORS[1]) / steps[-1]
        rates.append(np.full(weight.shape, scale * rate, np.float32))
    state.group.reset(latents, steps, rates)
