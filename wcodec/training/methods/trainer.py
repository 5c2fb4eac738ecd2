"""Training by one of the methods: the network has the weights of a file, and what stands behind them learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.batch_norm import reestimate
from wcodec.calibration.quantizable_weights import WeightTable, make_weight_table
from wcodec.container.dtypes import round_mantissa
from wcodec.evaluation.keras_backend import read_values, tensorflow
from wcodec.model import FloatWeights, TunedTensor
from wcodec.training.engine import compile_step
from wcodec.training.epoch import Phase, TrainingData, train_epoch
from wcodec.training.flat_adam import Float32
from wcodec.training.methods.dropout import find_dropouts, use_dropout
from wcodec.training.methods.parametrization import Parametrization, start_float

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Model
    from keras import Variable as Weight
    from tensorflow import Tensor


RATE: Final = 1e-3
"""Adam's learning rate, at first."""
SHORT: Final = (1000, 3.0)
"""Steps under which a training learns faster, and by how much at most."""
TOGETHER: Final = 0.01
"""The learning rate where a whole tensor has one: parts of its root mean square a step."""
LAST: Final = 0.02
"""Factor on the learning rates at the end."""
UPDATES: Final = 20
"""How often an epoch masks and steps are computed."""

Start = Callable[[Float32], Parametrization]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class MethodRun:
    """Training by one method. number: tells the seeds of runs apart.

    start:   by places in `model.weights`, what begins the parametrization of a kernel; other weights keep their values.
    every:   steps between two updates of masks and steps; None: a twentieth of an epoch.
    dropout: whether Dropout layers drop, by rates that fall with the weights that are left.
    """

    start: Mapping[int, Start]
    epochs: int
    number: int = 0
    every: int | None = None
    dropout: bool = False


@dataclass(frozen=True)
class _Group:
    """One weight under its parametrization. index: its place in `model.weights`; rate: the learning rate."""

    index: int
    weights: tuple[Weight]
    parametrization: Parametrization
    rate: float

    def values(self, tf: ModuleType) -> list[Tensor]:
        return [self.parametrization.value(tf)]

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        if gradients[0] is None:
            return
        gradient = self.parametrization.latent_gradient(tf, tf.convert_to_tensor(gradients[0]))
        latent = self.parametrization.latent
        move = latent.step_together if self.parametrization.per_tensor_rate else latent.step
        move(tf, gradient, factor * self.rate)


def run_method(model: Model, data: TrainingData, run: MethodRun, progress: Progress) -> dict[int, TunedTensor]:
    """Train; by places in `model.weights` what to code, which the network then has.

    progress: hears after every epoch its number, from 1, and its mean loss.
    """
    table = make_weight_table(model)
    scale = float(np.clip(SHORT[0] / max(run.epochs * data.steps, 1), 1.0, SHORT[1]))
    groups = _groups(table, run.start, scale)
    dropouts = find_dropouts(model, table) if run.dropout else []
    context = partial(use_dropout, dropouts, tensorflow().Variable(0)) if dropouts else nullcontext
    step = compile_step(model, groups, data.targets, table.batch_norms, context=context)
    updates = max(1, data.steps // run.every) if run.every else UPDATES
    phase = Phase(run.number, 0.0, run.epochs, last=LAST, live=1.0)
    for epoch in range(run.epochs):

        def update(done: float, epoch: int = epoch) -> None:
            for group in groups:
                group.parametrization.update((epoch + done) / run.epochs)
            for one in dropouts:
                one.scale(_parts_left(groups))

        progress(epoch + 1, train_epoch(step, data, phase.epoch(epoch), update, updates=updates))
    found = {group.index: group.parametrization.export() for group in groups}
    assign_tuned(model, found)
    return found | _statistics(model, table, data, set(run.start))


def _parts_left(groups: Sequence[_Group]) -> dict[int, float]:
    """By places in `model.weights`, the part of the weights that is not 0."""
    tf = tensorflow()
    return {one.index: float(np.mean(one.parametrization.value(tf).numpy() != 0)) for one in groups}


def assign_tuned(model: Model, tuned: Mapping[int, TunedTensor]) -> None:
    """Give the network these weights."""
    for index, one in tuned.items():
        model.weights[index].assign(one.values)


def _groups(table: WeightTable, start: Mapping[int, Start], scale: float) -> list[_Group]:
    """Every trainable weight: kernels by the method, all others as they are."""
    found = []
    for one in table.trainable:
        if one.index in start:
            values = one.original
            parametrization = start[one.index](values) if one.kind == "kernel" and values.any() else start_float(values)
            spread = max(float(np.sqrt(np.mean(values**2))), 1e-8)
            rate = scale * (TOGETHER * spread if parametrization.per_tensor_rate else RATE)
            found.append(_Group(one.index, (one.variable,), parametrization, rate))
    return found


def _statistics(model: Model, table: WeightTable, data: TrainingData, chosen: set[int]) -> dict[int, TunedTensor]:
    """The statistics of BatchNormalization of the trained network, in eight bits of mantissa, those `chosen` only."""
    if not table.batch_norms:
        return {}
    before = model.get_weights()
    reestimate(model, table.batch_norms, data.normalizing)
    found = {one.index: FloatWeights(round_mantissa(read_values(one.variable))) for one in table.statistics}
    moved = {index: one for index, one in found.items() if index in chosen}
    assign_tuned(model, {index: FloatWeights(before[index]) for index in found} | moved)
    return moved
