"""A network in training with all its weights rounded: straight-through, with a price on every level.

As `student`, with labels: kernels, biases and gains alike are integers times a step of their tensor that is learned,
so that the file has no other numbers than these. BatchNormalization trains on the statistics of the batch, until these
are settled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.batch_norm import use_batch_statistics
from wcodec.calibration.quantizable_weights import WeightTable
from wcodec.container.dtypes import round_step
from wcodec.container.wire import MAX_LEVEL
from wcodec.evaluation.inference import pack_inputs
from wcodec.evaluation.keras_backend import keras, read_values, silence_keras, tensorflow
from wcodec.training.flat_adam import Adam, Float32, adam, cut, joined, move, restart, size_of, split, state
from wcodec.training.losses import Lesson, lesson_loss
from wcodec.training.rate_model import rate_weights

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Layer, Model
    from keras import Variable as Weight
    from tensorflow import Tensor, Variable

    from wcodec.evaluation.examples import Array


BEND: Final = 10.0
"""c of the rate log2(1 + c |latent|): how sharply the price of a level falls towards zero."""
VECTORS: Final = 3.0
"""How much finer the steps of vectors are than those of kernels."""
LEAST: Final = 0.01
"""Step of a vector, at least, as part of the kernels' largest weight."""
SPEEDS: Final = (0.01, 4e-3)
"""Learning rates: of latents, as parts of their tensor's largest weight; of logarithms of steps."""
MEMORY: Final = (0.999, 0.99)
MEAN: Final = 100.0
"""Steps that the mean of the latents is of, about (Polyak and Juditsky 1992)."""


@dataclass(frozen=True)
class Piece:
    """A weight that is trained. index: its place in `model.weights`; kernel: has two or more dimensions."""

    index: int
    weight: Weight
    kernel: bool


@dataclass(frozen=True)
class Frame:
    """What is learned, as plain arrays: flat latents, logarithms of the steps, and the moments of Adam.

    count: of the steps of training; average: the mean of the last latents; speeds: of latents, where they are others.
    """

    latents: tuple[Float32, Float32, Float32]
    steps: tuple[Float32, Float32, Float32]
    count: float
    average: Float32 | None = None
    speeds: Float32 | None = None


@dataclass(frozen=True)
class Pupil:
    """A network in training.

    pieces:   in the order of the latents.
    speeds:   float32, one a latent: its learning rate, in steps.
    prices:   one a latent: factors on the rate; centres: one a latent: the level that costs nothing.
    average:  one a latent: the mean of the last ones.
    step:     (inputs, answers, labels, price, speed, live) makes one step and returns the loss.
    """

    model: Model
    pieces: tuple[Piece, ...]
    normalizations: tuple[Layer, ...]
    latents: Adam
    steps: Adam
    speeds: Variable
    prices: Variable
    centres: Variable
    average: Variable
    count: Variable
    step: Callable[[tuple[Array, ...], tuple[Array, ...], Array | None, Tensor, Tensor, bool], Tensor]

    @property
    def weights(self) -> list[Weight]:
        """Of the pieces."""
        return [piece.weight for piece in self.pieces]


def pupil(model: Model, given: Lesson, table: WeightTable) -> Pupil:
    """Ready to `begin`. table: of its weights."""
    tf = tensorflow()
    pieces = tuple(Piece(one.index, one.variable, one.kind == "kernel") for one in table.weights if one.trainable)
    weights = [piece.weight for piece in pieces]
    total = sum(map(size_of, weights))
    made = Pupil(
        model=model,
        pieces=pieces,
        normalizations=table.batch_norms,
        latents=adam(tf, total),
        steps=adam(tf, len(pieces)),
        speeds=tf.Variable(tf.zeros(total)),
        prices=tf.Variable(tf.ones(total)),
        centres=tf.Variable(tf.zeros(total)),
        average=tf.Variable(tf.zeros(total)),
        count=tf.Variable(0.0),
        step=lambda *_: None,
    )

    def step(
        inputs: tuple[Tensor, ...],
        answers: tuple[Tensor, ...],
        labels: Tensor | None,
        price: Tensor,
        speed: Tensor,
        live: bool,
    ) -> Tensor:
        return _step(tf, made, given, (inputs, answers, labels), price, speed, live)

    return Pupil(**{**vars(made), "step": tf.function(step)})


def begin(learner: Pupil, parts: float) -> None:
    """Take the weights that the network has. parts: steps of a kernel that its largest weight has."""
    values = [read_values(weight) for weight in learner.weights]
    largest = [float(np.abs(array).max(initial=0.0)) for array in values]
    most = max((top for top, piece in zip(largest, learner.pieces, strict=True) if piece.kernel), default=1.0) or 1.0
    steps, speeds = [], []
    for array, top, piece in zip(values, largest, learner.pieces, strict=True):
        step = round_step(
            max(top / (parts if piece.kernel else VECTORS * parts), 0.0 if piece.kernel and top else LEAST * most)
        )
        steps.append(step)
        speeds.append(np.full(array.size, SPEEDS[0] * (max(top / step, 1.0)), np.float32))
    go_on_from(learner, [array / step for array, step in zip(values, steps, strict=True)], steps, speeds)


def go_on_from(learner: Pupil, latents: Sequence[Float32], steps: Sequence[float], speeds: Sequence[Float32]) -> None:
    """Latents, their steps and learning rates (in steps), for each piece."""
    restart(learner.latents, joined(latents))
    restart(learner.steps, np.log(np.array(steps, np.float32)))
    learner.speeds.assign(joined(speeds))
    learner.count.assign(0.0)
    reprice(learner)


def reprice(learner: Pupil) -> None:
    """Take the prices of levels anew, from where the levels are."""
    latents = cut(learner.latents.values.numpy(), learner.weights)
    kernels = [array for array, piece in zip(latents, learner.pieces, strict=True) if piece.kernel]
    found = iter(rate_weights(kernels))
    prices, centres = [], []
    for array, piece in zip(latents, learner.pieces, strict=True):
        prices.append(next(found) if piece.kernel else np.ones_like(array))
        middle = 0.0 if piece.kernel or not array.size else float(np.rint(np.median(array)))
        centres.append(np.full_like(array, middle))
    learner.prices.assign(joined(prices))
    learner.centres.assign(joined(centres))


def frame(learner: Pupil) -> Frame:
    """What is learned so far. Inverse: `put_back`."""
    average, speeds = (np.array(one.numpy(), np.float32) for one in (learner.average, learner.speeds))
    return Frame(state(learner.latents), state(learner.steps), float(learner.count.numpy()), average, speeds)


def put_back(learner: Pupil, was: Frame) -> None:
    """Go on from there. Inverse: `frame`."""
    for learned, arrays in ((learner.latents, was.latents), (learner.steps, was.steps)):
        for variable, array in zip((learned.values, learned.mean, learned.power), arrays, strict=True):
            variable.assign(array)
    learner.count.assign(was.count)
    for variable, kept in ((learner.average, was.average), (learner.speeds, was.speeds)):
        if kept is not None:
            variable.assign(kept)
    reprice(learner)


def rounded(learner: Pupil, *, averaged: bool = False) -> list[tuple[npt.NDArray[np.int32], float]]:
    """Levels and step of each piece, which are put into the network: weight = step * level.

    averaged: of the mean of the last latents, which is what they would come to if learning slowed down.
    """
    found = []
    source = learner.average if averaged and float(learner.count.numpy()) else learner.latents.values
    latents = cut(source.numpy(), learner.weights)
    for piece, array, log in zip(learner.pieces, latents, learner.steps.values.numpy(), strict=True):
        step = round_step(float(np.exp(np.float32(log))))
        levels = np.clip(np.rint(array), -MAX_LEVEL, MAX_LEVEL).astype(np.int32)
        piece.weight.assign(levels * np.float32(step))
        found.append((levels, step))
    return found


def _step(
    tf: ModuleType,
    learner: Pupil,
    given: Lesson,
    batch: tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor | None],
    price: Tensor,
    speed: Tensor,
    live: bool,
) -> Tensor:
    """Round, compare, move; the loss without the rate.

    price: lambda, of a bit; speed: factor on the learning rates; live: normalise by the batch's own statistics.
    """
    inputs, answers, labels = batch
    latents, logs = learner.latents.values, learner.steps.values
    weights = learner.weights
    steps = tf.unstack(_stored(tf, tf.exp(logs)), len(weights))
    levels = split(tf, tf.round(latents), weights)
    for weight, step, level in zip(weights, steps, levels, strict=True):
        weight.assign(level * step)
    watching = [weight._value for weight in weights]
    with ExitStack() as stack:
        stack.enter_context(silence_keras())
        if live:
            stack.enter_context(use_batch_statistics(learner.normalizations))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watching)
            outputs = keras().tree.flatten(learner.model(pack_inputs(learner.model, inputs), training=False))
            loss = lesson_loss(tf, given, outputs, answers, labels)
    gradients = tape.gradient(loss, watching)
    # What no output depends on keeps its levels: nothing would tell when it has lost its meaning.
    used = [gradient is not None for gradient in gradients]
    scaled = [
        tf.convert_to_tensor(gradient) * step if use else tf.zeros(weight.shape)
        for gradient, step, use, weight in zip(gradients, steps, used, weights, strict=True)
    ]
    by_step = tf.stack([tf.reduce_sum(pull * level) for pull, level in zip(scaled, levels, strict=True)])
    away = latents - learner.centres
    rate = price * learner.prices * tf.sign(away) * (BEND / np.log(2)) / (1 + BEND * tf.abs(away))
    if not all(used):
        rate *= tf.concat([tf.fill([size_of(w)], float(use)) for w, use in zip(weights, used, strict=True)], 0)
    pulls = tf.concat([tf.reshape(pull, [-1]) for pull in scaled], 0) + rate
    learner.count.assign_add(1.0)
    # Adam does not see the size of a gradient: tensors differ in speed by what is added to them.
    before = tf.identity(latents)
    move(tf, learner.latents, pulls, 1.0, learner.count, MEMORY[0])
    learner.latents.values.assign(before + (learner.latents.values - before) * learner.speeds * speed)
    learner.average.assign_add((learner.latents.values - learner.average) / tf.minimum(learner.count, MEAN))
    move(tf, learner.steps, by_step, speed * SPEEDS[1], learner.count, MEMORY[1])
    return loss


def _stored(tf: ModuleType, steps: Tensor) -> Tensor:
    """As `round_step`: float32 of eight mantissa bits."""
    bits = tf.bitcast(steps, tf.int32)
    return tf.bitcast(tf.bitwise.bitwise_and(bits + 0x8000, -0x10000), tf.float32)
