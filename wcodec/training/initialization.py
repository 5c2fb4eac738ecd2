"""What training with labels begins from: the network rounded without labels, which is an answer already."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.budget import SAFETY, AccuracyBudget
from wcodec.calibration.quantizable_weights import WeightTable
from wcodec.calibration.session import prepare_session
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.trial import CalibrationResult
from wcodec.calibration.vector_steps import quantize_vectors
from wcodec.container.dtypes import round_step
from wcodec.errors import BudgetError
from wcodec.evaluation.examples import Examples, hold_out
from wcodec.evaluation.keras_backend import read_values
from wcodec.training.candidate import Net, Rounded, judged, worth
from wcodec.training.distillation import distill
from wcodec.training.epoch import School
from wcodec.training.lambda_control import Budget, Exam
from wcodec.training.qat_state import Pupil, begin, go_on_from

if TYPE_CHECKING:
    from keras import Model


MOMENTS: Final = 1000
"""Inputs for rounding with feedback: what it comes to is trained anyway."""
TRAINABLE: Final = 2000
"""Fewest examples worth training on without labels."""
STEPS: Final = 1000
SMALL: Final = 0.1
"""Points: what training begins from has lost so many at least, even where fewer are asked for."""
KERNELS: Final = 0.014
"""Learning rate of kernels, in their root mean square, or in steps where these are larger."""
VECTORS: Final = (0.01, 1e-3)
"""That of vectors: as part of their largest value, and at least so much."""
UPDATES: Final = 2000
SLOWEST: Final = 0.3
"""Steps of training under which these fall, with their root, to this part at least: little time calls for care."""
FINE: Final = 32.0
"""Steps that the largest value of a vector has at first."""
PLAIN: Final = (64.0, 32.0, 16.0, 8.0)
"""Steps that the largest weight has in networks that are only rounded, where no other is within the budget."""


def rounded_without_labels(
    model: Model, learning: Examples, exam: Exam, budget: Budget, seed: int, seconds: float, table: WeightTable
) -> tuple[tuple[Net, ...], CalibrationResult]:
    """Networks found without training that are within the budget, and the rounding that training goes on from.

    learning: examples that were not kept apart; table: of its weights.
    The network must have its original weights, and has them again.
    """
    session = prepare_session(model, *hold_out(learning), most=min(MOMENTS, learning.count), seed=seed, table=table)
    wanted = AccuracyBudget(
        drop=None if budget.drop is None or budget.bytes is not None else max(budget.drop, SMALL),
        bytes=budget.bytes,
    )
    tried: list[CalibrationResult] = []
    try:
        best = search_steps(
            session, wanted, seconds=seconds, dampings=session.config.dampings[:1], progress=tried.append
        )
        best = quantize_vectors(session, best, wanted)
    except BudgetError:
        best = min(tried, key=lambda one: one.kl)
    nets: list[Net] = []
    for one in (best, *sorted(tried, key=lambda one: one.bytes)):
        if one.bytes >= best.bytes:
            nets.append(net_of(model, one, exam))
            if exam.allows(nets[-1], budget):
                return tuple(nets), one
    return tuple(nets), best


def trained_without_labels(
    model: Model, learning: Examples, exam: Exam, budget: Budget, seed: int, table: WeightTable
) -> tuple[Net, ...]:
    """What `--data --tune STEPS` would find: none where it is not within the budget, or examples are few."""
    if budget.drop is None or budget.drop <= 0 or learning.count < TRAINABLE:
        return ()
    wanted = AccuracyBudget(drop=SAFETY * budget.drop)
    prepare = partial(prepare_session, model, *hold_out(learning), seed=seed, table=table)
    session = prepare(most=learning.count)
    try:
        first = search_steps(prepare(most=MOMENTS), wanted)
    except BudgetError:
        return ()
    found = quantize_vectors(session, distill(session, first, wanted, steps=STEPS, seconds=None, seed=seed), wanted)
    net = net_of(model, found, exam)
    return (net,) if exam.allows(net, budget) else ()


def rounded_plainly(learner: Pupil, school: School, exam: Exam) -> tuple[Net, ...]:
    """Networks that are rounded and nothing else. The network keeps its weights."""
    before, nets = learner.model.get_weights(), []
    for fine in PLAIN:
        begin(learner, fine)
        nets.append(judged(learner, school.normalizing, exam.held_out, exam.truth))
        learner.model.set_weights(before)
    return tuple(nets)


def net_of(model: Model, found: CalibrationResult, exam: Exam) -> Net:
    """What was found without labels, as it is judged by them. The network keeps its weights."""
    before = model.get_weights()
    try:
        put(model, found)
        accuracy, loss = worth(model, exam.held_out, exam.truth)
    finally:
        model.set_weights(before)
    rounded = tuple(Rounded(one.index, one.levels, one.step) for one in found.rounded if one.step)
    return Net(rounded, found.statistics, found.bytes, accuracy, loss)


def put(model: Model, found: CalibrationResult) -> None:
    """Give the network these weights."""
    for one in found.rounded:
        model.weights[one.index].assign(one.weights)
    for index, values in found.statistics:
        model.weights[index].assign(values)


def begin_from(learner: Pupil, found: CalibrationResult, updates: int) -> None:
    """Training goes on from there; the network gets its statistics, too. updates: steps of training in all."""
    haste = float(np.clip((updates / UPDATES) ** 0.5, SLOWEST, 1.0))
    for index, array in found.statistics:
        learner.model.weights[index].assign(array)
    known = {one.index: one for one in found.rounded if one.step}
    latents, steps, speeds = [], [], []
    for piece in learner.pieces:
        values = read_values(piece.weight)
        top = float(np.abs(values).max(initial=0.0))
        if piece.index in known and piece.kernel:
            one = known[piece.index]
            latents.append(one.values)
            steps.append(one.step)
            rms = float(np.sqrt(np.mean(np.square(one.values)))) if one.values.size else 1.0
            speed = KERNELS * max(rms, 1.0)
        else:
            steps.append(round_step(max(top, 0.05) / FINE))
            latents.append(values / np.float32(steps[-1]))
            speed = max(VECTORS[0] * top, VECTORS[1]) / steps[-1]
        speeds.append(np.full(values.size, haste * speed, np.float32))
    go_on_from(learner, latents, steps, speeds)
