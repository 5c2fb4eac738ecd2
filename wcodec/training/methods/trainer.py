"""Epochs of training by any of the methods: the network shows what a file will have, latents outside of it learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.batch_norm import reestimate, use_batch_statistics
from wcodec.calibration.quantizable_weights import WeightTable, make_weight_table
from wcodec.container.dtypes import round_mantissa
from wcodec.evaluation.examples import Array
from wcodec.evaluation.inference import pack_inputs
from wcodec.evaluation.keras_backend import keras, read_values, silence_keras, tensorflow
from wcodec.model import FloatWeights, TunedTensor
from wcodec.training.epoch import School, drawn
from wcodec.training.flat_adam import Float32, move
from wcodec.training.losses import lesson_loss
from wcodec.training.methods.parametrization import Way, plain

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Layer, Model
    from keras import Variable as Weight
    from tensorflow import Tensor, Variable


RATE: Final = 1e-3
"""Adam's, at first: it falls linearly."""
SHORT: Final = (1000, 3.0)
"""Steps under which a training learns faster, and by how much at most."""
TOGETHER: Final = 0.01
"""The same where a tensor learns together: parts of its root mean square a step."""
LAST: Final = 0.02
TICKS: Final = 20
"""How often an epoch masks and steps are taken anew."""

Begin = Callable[[Float32], Way]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Course:
    """Training by one method. number: tells the seeds of courses apart.

    begin: by places in `model.weights`, the way of a kernel; weights that are not among them keep their values.
    """

    begin: Mapping[int, Begin]
    epochs: int
    number: int = 0


@dataclass(frozen=True)
class _Piece:
    """A weight that learns. index: its place in `model.weights`; spread: what a step of a tensor is measured by."""

    index: int
    weight: Weight
    way: Way
    spread: float


def run(model: Model, school: School, course: Course, progress: Progress) -> dict[int, TunedTensor]:
    """Train; by places in `model.weights` what to code, which the network then has.

    progress: told after every epoch which it was, and its mean loss.
    """
    table = make_weight_table(model)
    pieces, layers = _pieces(table, course.begin), table.batch_norms
    step = _stepper(model, school, pieces, layers)
    per_epoch = school.examples.count // school.batch
    total, tick = course.epochs * per_epoch, max(1, per_epoch // TICKS)
    rate = RATE * float(np.clip(SHORT[0] / max(total, 1), 1.0, SHORT[1]))
    tf, losses, count = tensorflow(), [], 0
    for epoch in range(course.epochs):
        for inputs, answers, labels in drawn(school, (course.number, epoch)):
            if count % tick == 0:
                for piece in pieces:
                    piece.way.tick(count / total)
            speed = rate * (1 - (1 - LAST) * count / total)
            count += 1
            losses.append(step(inputs, answers, labels, tf.constant(speed, tf.float32), tf.constant(count, tf.float32)))
        progress(epoch + 1, float(tf.reduce_mean(tf.stack(losses))))
        losses.clear()
    found = {piece.index: piece.way.settled() for piece in pieces}
    put(model, found)
    return found | _statistics(model, table, school, set(course.begin))


def put(model: Model, tuned: Mapping[int, TunedTensor]) -> None:
    """Give the network these weights."""
    for index, one in tuned.items():
        model.weights[index].assign(one.values)


def _pieces(table: WeightTable, begin: Mapping[int, Begin]) -> list[_Piece]:
    """Every trainable weight: kernels by the method, all others as they are."""
    found = []
    for one in table.weights:
        if one.index in begin and one.trainable:
            values = one.original
            way = begin[one.index](values) if one.kind == "kernel" and values.any() else plain(values)
            found.append(_Piece(one.index, one.variable, way, max(float(np.sqrt(np.mean(values**2))), 1e-8)))
    return found


def _statistics(model: Model, table: WeightTable, school: School, chosen: set[int]) -> dict[int, TunedTensor]:
    """The statistics of BatchNormalization estimated again, short, and put into the network; those chosen."""
    if not table.batch_norms:
        return {}
    before = model.get_weights()
    reestimate(model, table.batch_norms, school.normalizing)
    found = {one.index: FloatWeights(round_mantissa(read_values(one.variable))) for one in table.statistics}
    moved = {index: one for index, one in found.items() if index in chosen}
    put(model, {index: FloatWeights(before[index]) for index in found} | moved)
    return moved


Step = Callable[[tuple[Array, ...], tuple[Array, ...], Array | None, "Tensor", "Tensor"], "Tensor"]


def _stepper(model: Model, school: School, pieces: list[_Piece], layers: Sequence[Layer]) -> Step:
    """Makes one step of training and returns the loss."""
    tf = tensorflow()
    watching = [piece.weight._value for piece in pieces]

    def step(
        inputs: tuple[Tensor, ...], answers: tuple[Tensor, ...], labels: Tensor | None, speed: Tensor, count: Tensor
    ) -> Tensor:
        for piece in pieces:
            piece.weight.assign(piece.way.shown(tf))
        with ExitStack() as stack:
            stack.enter_context(silence_keras())
            stack.enter_context(use_batch_statistics(layers))
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(watching)
                outputs = keras().tree.flatten(model(pack_inputs(model, inputs), training=False))
                loss = lesson_loss(tf, school.lesson, outputs, answers, labels)
        for piece, gradient in zip(pieces, tape.gradient(loss, watching), strict=True):
            if gradient is not None:
                pull = piece.way.pull(tf, tf.convert_to_tensor(gradient))
                if piece.way.together:
                    _move_together(tf, piece, pull, speed / RATE * TOGETHER * piece.spread, count)
                else:
                    move(tf, piece.way.latent, pull, speed, count)
        return loss

    compiled: Step = tf.function(step)
    return compiled


def _move_together(tf: ModuleType, piece: _Piece, gradient: Tensor, speed: Tensor, count: Tensor) -> None:
    """Gradient descent with momentum; the tensor's gradients are measured by their running root mean square."""
    mean: Variable = piece.way.latent.mean
    power: Variable = piece.way.latent.power
    mean.assign(0.9 * mean + 0.1 * gradient)
    power.assign(0.99 * power + 0.01 * tf.reduce_mean(tf.square(gradient)))
    measure = tf.sqrt(power / (1 - tf.pow(0.99, count))) + 1e-12
    piece.way.latent.values.assign_sub(speed * mean / measure)
