"""The training loop of the methods: the network has weights as in the file, and the parametrizations are trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.batch_norm import reestimate
from wcodec.calibration.quantizable_weights import WeightTable, make_weight_table
from wcodec.calibration.time_limit import OutOfTimeError, TimeLimit
from wcodec.container.dtypes import round_mantissa
from wcodec.evaluation.keras_backend import read_values, tensorflow
from wcodec.model import FloatWeights, TunedTensor
from wcodec.training.engine import compile_step
from wcodec.training.epoch import Epoch, TrainingData, train_epoch
from wcodec.training.flat_adam import Adam, Float32
from wcodec.training.methods.dropout import ScaledDropout, find_dropouts, use_dropout
from wcodec.training.methods.parametrization import Parametrization, constant, start_float

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Model
    from keras import Variable as Weight
    from tensorflow import Tensor, Variable


RATE: Final = 1e-3
"""The initial learning rate of Adam."""
SHORT: Final = (1000, 3.0)
"""A training with fewer steps than the first number has a higher learning rate, by at most the second as a factor."""
TOGETHER: Final = 0.01
"""The learning rate of parametrizations with one rate for the tensor, as a fraction of its root mean square."""
LAST: Final = 0.02
"""Factor on the learning rates at the end of the training."""
UPDATES: Final = 20
"""How many times in an epoch masks and steps are computed."""

GRACE: Final = 4.0
"""Seconds after the deadline, of the clock and of the processor."""

Start = Callable[[Float32], Parametrization]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class MethodRun:
    """Training by one method. number: distinguishes the seeds of several runs.

    start:    by position in `model.weights`, the function that builds the parametrization of a kernel; other weights
              keep their values.
    every:    the number of steps between two updates of masks and steps; None: a twentieth of an epoch.
    deadline: a time of `time.monotonic`; the number of epochs is reduced to meet it. An epoch that goes on for GRACE
              seconds after it ends there.
    dropout:  whether Dropout layers are active, with rates that fall with the fraction of weights that remain.
    """

    start: Mapping[int, Start]
    epochs: int
    number: int = 0
    every: int | None = None
    dropout: bool = False
    deadline: float = float("inf")


@dataclass(frozen=True)
class MethodState:
    """The state of a training after an epoch: all that is needed to continue.

    method:  the number of the method.
    epoch:   the number of epochs that it made.
    done:    the fraction of its training that is done.
    begun:   the weights of the network at the start of the method.
    learned: the trained variables, in the order of `_list_variables`.
    """

    method: int
    epoch: int
    done: float
    begun: tuple[Float32, ...]
    learned: tuple[Float32, ...]


@dataclass(frozen=True)
class MethodGroup:
    """One weight with its parametrization, a `ParameterGroup`.

    index: the position in `model.weights`.
    rate:  the learning rate.
    """

    index: int
    weights: tuple[Weight]
    parametrization: Parametrization
    rate: float

    def values(self, tf: ModuleType) -> list[Tensor]:
        return [self.parametrization.value(tf)]

    def export(self) -> TunedTensor:
        """The weights to code."""
        return self.parametrization.export()

    def apply(self, tf: ModuleType, gradients: Sequence[Tensor | None], lambda_: Tensor, factor: Tensor) -> None:
        if gradients[0] is None:
            return
        gradient = self.parametrization.latent_gradient(tf, tf.convert_to_tensor(gradients[0]))
        latent = self.parametrization.latent
        move = latent.step_together if self.parametrization.per_tensor_rate else latent.step
        move(tf, gradient, factor * self.rate)


def run_method(
    model: Model,
    data: TrainingData,
    run: MethodRun,
    progress: Progress,
    save: Callable[[MethodState], None] = lambda _: None,
    before: MethodState | None = None,
) -> tuple[dict[int, TunedTensor], bool]:
    """Train. Returns the tensors to encode, by position in `model.weights`, which are also assigned to the network, and
    whether the training was finished.

    progress:     called after every epoch with its number, from 1, and the mean loss.
    save, before: called with the state after every epoch; a state of this method to continue from.
    An interrupt (KeyboardInterrupt) ends the training with the result so far.
    """
    if before:
        model.set_weights([one.astype(str(w.dtype)) for one, w in zip(before.begun, model.weights, strict=True)])
    table = make_weight_table(model)
    begun = tuple(np.asarray(one, np.float32) for one in model.get_weights())
    scale = float(np.clip(SHORT[0] / max(run.epochs * data.steps, 1), 1.0, SHORT[1]))
    groups = _make_groups(table, run.start, scale)
    dropouts = find_dropouts(model, table) if run.dropout else []
    count = constant(np.zeros((), np.float32))
    context = partial(use_dropout, dropouts, count) if dropouts else nullcontext
    step = compile_step(model, groups, data.targets, table.batch_norms, context=context)
    variables = [count, *_list_variables(groups)]
    if before:
        for variable, value in zip(variables, before.learned, strict=True):
            variable.assign(value.astype(variable.dtype.as_numpy_dtype))
    updates = max(1, data.steps // run.every) if run.every else UPDATES
    finished = True
    limit = TimeLimit(run.deadline - time.monotonic() + GRACE)
    try:
        for epoch in _plan_epochs(run, before):
            update = partial(_update, groups, dropouts, limit, epoch)
            loss = train_epoch(step, data, epoch.epoch(run.number), update, updates=updates)
            learned = tuple(np.asarray(one.numpy(), np.float32) for one in variables)
            save(MethodState(run.number, epoch.number + 1, epoch.last, begun, learned))
            progress(epoch.number + 1, loss)
    except (KeyboardInterrupt, OutOfTimeError) as end:
        finished = False
        _end_schedules(groups if isinstance(end, OutOfTimeError) else ())
    if not run.epochs:
        _end_schedules(groups)
    found = {group.index: group.parametrization.export() for group in groups}
    assign_tuned(model, found)
    return found | _reestimate_statistics(model, table, data, set(run.start)), finished


@dataclass(frozen=True)
class _Part:
    """One epoch, with the fractions of the training that are done before and after it."""

    number: int
    first: float
    last: float

    def epoch(self, method: int) -> Epoch:
        """The epoch, whose learning rates fall from 1 to LAST over the training."""
        return Epoch((method, self.number), 0.0, (1 - (1 - LAST) * self.first, 1 - (1 - LAST) * self.last), live=True)


def _plan_epochs(run: MethodRun, before: MethodState | None) -> Iterator[_Part]:
    """The remaining epochs; fewer, by the duration of the last one, if the deadline would pass."""
    number, done, seconds = (before.epoch, before.done, 0.0) if before else (0, 0.0, 0.0)
    while number < run.epochs and done < 1:
        started = time.monotonic()
        left = run.epochs - number
        if seconds and started + left * seconds > run.deadline:
            left = max(1, int((run.deadline - started) / seconds))
        part = _Part(number, done, 1.0 if left == 1 else done + (1 - done) / left)
        yield part
        number, done, seconds = number + 1, part.last, time.monotonic() - started


def _update(
    groups: Sequence[MethodGroup], dropouts: Sequence[ScaledDropout], limit: TimeLimit, epoch: _Part, part: float
) -> None:
    """Compute masks, steps and rates of dropout after this part of an epoch. Raises: OutOfTimeError."""
    if limit.is_over(found=False, required=False):
        raise OutOfTimeError
    for group in groups:
        group.parametrization.update(epoch.first + (epoch.last - epoch.first) * part)
    for one in dropouts:
        one.scale(_measure_nonzero_fractions(groups))


def _end_schedules(groups: Sequence[MethodGroup]) -> None:
    """Prune and quantise by the amounts that were asked for, not by those on the way there."""
    for group in groups:
        group.parametrization.update(1.0)


def _list_variables(groups: Sequence[MethodGroup]) -> Iterator[Variable]:
    """All variables that training changes outside of the network: moments, masks, members, steps."""
    for group in groups:
        for value in vars(group.parametrization).values():
            if isinstance(value, Adam):
                yield from (value.values, value.mean, value.mean_square, value.count)
            elif hasattr(value, "assign"):
                yield value


def _measure_nonzero_fractions(groups: Sequence[MethodGroup]) -> dict[int, float]:
    """The fraction of weights that are not 0, by position in `model.weights`."""
    tf = tensorflow()
    return {one.index: float(np.mean(one.parametrization.value(tf).numpy() != 0)) for one in groups}


def assign_tuned(model: Model, tuned: Mapping[int, TunedTensor]) -> None:
    """Assign these weights to the network."""
    for index, one in tuned.items():
        model.weights[index].assign(one.values)


def _make_groups(table: WeightTable, start: Mapping[int, Start], scale: float) -> list[MethodGroup]:
    """Every trainable weight: kernels with the method's parametrization, all others without quantization."""
    found = []
    for one in table.trainable:
        if one.index in start:
            values = one.original
            parametrization = start[one.index](values) if one.kind == "kernel" and values.any() else start_float(values)
            spread = max(float(np.sqrt(np.mean(values**2))), 1e-8)
            rate = scale * (TOGETHER * spread if parametrization.per_tensor_rate else RATE)
            found.append(MethodGroup(one.index, (one.variable,), parametrization, rate))
    return found


def _reestimate_statistics(
    model: Model, table: WeightTable, data: TrainingData, chosen: set[int]
) -> dict[int, TunedTensor]:
    """Recompute the BatchNormalization statistics, with eight bits of mantissa; only those in `chosen`."""
    if not table.batch_norms:
        return {}
    before = model.get_weights()
    reestimate(model, table.batch_norms, data.normalizing)
    found = {one.index: FloatWeights(round_mantissa(read_values(one.variable))) for one in table.statistics}
    moved = {index: one for index, one in found.items() if index in chosen}
    assign_tuned(model, {index: FloatWeights(before[index]) for index in found} | moved)
    return moved
