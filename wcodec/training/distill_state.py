"""A network in training whose weights are always rounded: straight-through, with a price on every level.

The latents of the kernels live outside of the network. For each step they are rounded and put into it; gradients for
the rounded weights move the latents (straight-through, Bengio et al. 2013), and so does the rate of the levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.layerwise import RoundedWeight
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import CalibrationResult
from wcodec.container.dtypes import round_mantissa, round_step
from wcodec.evaluation.examples import Array
from wcodec.evaluation.inference import pack_inputs
from wcodec.evaluation.keras_backend import keras, read_values, silence_keras, tensorflow
from wcodec.evaluation.metrics import are_probabilities
from wcodec.training.flat_adam import Adam, Float32, adam, cut, joined, move, restart, size_of, split
from wcodec.training.losses import distance
from wcodec.training.rate_model import BEND, rate_weights

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Model
    from keras import Variable as Weight
    from tensorflow import Tensor, Variable


LATENT, STEP, OTHER = 0, 1, 2
SPEEDS: Final = (0.03, 1e-3, 1e-3)
"""Learning rates: of latents, in steps; of logarithms of steps; of all other weights."""


@dataclass(frozen=True)
class Student:
    """A network in training.

    kernels: whose latents are learned, in the order of the latents; others: other weights that are learned.
    learned: flat: latents, logarithms of the steps, other weights.
    prices:  flat, one a latent: factors on the rate.
    count:   of the steps made since `begin`.
    before:  weights that are the original's while it answers, with their values in it; after: those of statistics
             that are others in the student, with them.
    step:    (inputs, lambda, speed) makes one and returns the distance of the answers before it; see `_step`.
    """

    model: Model
    kernels: tuple[Weight, ...]
    others: tuple[Weight, ...]
    learned: tuple[Adam, Adam, Adam]
    prices: Variable
    count: Variable
    before: tuple[tuple[Weight, Tensor], ...]
    after: tuple[tuple[Weight, Tensor], ...]
    step: Callable[[tuple[Array, ...], Tensor, Tensor], Tensor]


def student(session: CalibrationSession, start: CalibrationResult) -> Student:
    """Ready to `begin`. Kernels of zeros stay as they are. The network must have its original weights."""
    tf = tensorflow()
    model = session.model
    kernels = tuple(model.weights[one.index] for one in start.rounded if one.step)
    rounded = {one.index for one in start.rounded}
    others = tuple(one.variable for one in session.table.weights if one.trainable and one.index not in rounded)
    sizes = (sum(map(size_of, kernels)), len(kernels), sum(map(size_of, others)))
    learned = {id(weight) for weight in (*kernels, *others)}
    taken_anew = [(model.weights[i], values) for i, values in start.statistics if id(model.weights[i]) not in learned]
    made = Student(
        model=model,
        kernels=kernels,
        others=others,
        learned=(adam(tf, sizes[LATENT]), adam(tf, sizes[STEP]), adam(tf, sizes[OTHER])),
        prices=tf.Variable(tf.ones(sizes[LATENT])),
        count=tf.Variable(0.0),
        before=tuple(
            (weight, tf.constant(keras().ops.convert_to_numpy(weight)))
            for weight in (*kernels, *others, *(weight for weight, _ in taken_anew))
        ),
        after=tuple((weight, tf.constant(values, str(weight.dtype))) for weight, values in taken_anew),
        step=lambda *_: None,
    )
    probabilities = tuple(are_probabilities(outputs) for outputs in session.outputs)
    spreads = tuple(max(float(outputs.var()), 1e-30) for outputs in session.outputs)

    def step(inputs: tuple[Tensor, ...], rate: Tensor, speed: Tensor) -> Tensor:
        return _step(tf, made, inputs, rate, speed, probabilities, spreads)

    return Student(**{**vars(made), "step": tf.function(step)})


def begin(learner: Student, start: CalibrationResult) -> None:
    """Put `start` into the network, and forget all moments."""
    for index, values in start.statistics:
        learner.model.weights[index].assign(values)
    trained = [one for one in start.rounded if one.step]
    flat = (
        joined([one.values for one in trained]),
        np.log(np.array([one.step for one in trained], np.float32)),
        joined([read_values(weight) for weight in learner.others]),
    )
    for one, values in zip(learner.learned, flat, strict=True):
        restart(one, values)
    learner.count.assign(0.0)
    reprice(learner)


def reprice(learner: Student) -> None:
    """Take the prices of levels anew, from where the levels are."""
    learner.prices.assign(joined(rate_weights(cut(learner.learned[LATENT].values.numpy(), learner.kernels))))


def settle(learner: Student) -> None:
    """Round the steps as a file has them. The latents stay, so that the weights follow."""
    steps = learner.learned[STEP].values
    steps.assign([np.log(round_step(float(step))) for step in np.exp(steps.numpy())])


def state(
    learner: Student, start: CalibrationResult
) -> tuple[tuple[RoundedWeight, ...], tuple[tuple[int, Float32], ...]]:
    """The latents, and the other weights that are not the original's; both put into the network.

    Steps and other weights are rounded as a file has them.
    """
    steps = iter([round_step(float(step)) for step in np.exp(learner.learned[STEP].values.numpy())])
    values = iter(cut(learner.learned[LATENT].values.numpy(), learner.kernels))
    latents = tuple(
        RoundedWeight(one.index, one.path, next(steps), next(values)) if one.step else one for one in start.rounded
    )
    for one in latents:
        learner.model.weights[one.index].assign(one.weights)
    places = {id(weight): index for index, weight in enumerate(learner.model.weights)}
    changed = dict(start.statistics)
    for weight, learned in zip(learner.others, cut(learner.learned[OTHER].values.numpy(), learner.others), strict=True):
        changed[places[id(weight)]] = round_mantissa(learned)
        weight.assign(round_mantissa(learned))
    return latents, tuple(sorted(changed.items()))


def _step(
    tf: ModuleType,
    learner: Student,
    inputs: tuple[Tensor, ...],
    rate: Tensor,
    speed: Tensor,
    probabilities: tuple[bool, ...],
    spreads: tuple[float, ...],
) -> Tensor:
    """One step: ask the original, round, compare the answers, move. No input is seen twice: mixtures have no end.

    rate:  lambda, the price of a bit for each weight; speed: factor on the learning rates [latents, steps, others].
    """
    latents, logs, others = (one.values for one in learner.learned)
    for weight, original in learner.before:
        weight.assign(original)
    with silence_keras():
        answers = [tf.cast(output, "float32") for output in _answers(learner.model, inputs)]
    for weight, taken_anew in learner.after:
        weight.assign(taken_anew)
    steps = tf.exp(logs)
    rounded = split(tf, tf.round(latents), learner.kernels)
    for kernel, step, levels in zip(learner.kernels, tf.unstack(steps, len(learner.kernels)), rounded, strict=True):
        kernel.assign(tf.cast(levels * step, kernel.dtype))
    for weight, values in zip(learner.others, split(tf, others, learner.others), strict=True):
        weight.assign(values)
    watched = [weight._value for weight in (*learner.kernels, *learner.others)]
    with tf.GradientTape(watch_accessed_variables=False) as tape, silence_keras():
        tape.watch(watched)
        losses = [
            distance(tf, tf.cast(output, "float32"), answer, are, spread)
            for output, answer, are, spread in zip(
                _answers(learner.model, inputs), answers, probabilities, spreads, strict=True
            )
        ]
        loss = tf.add_n(losses)
    gradients = tape.gradient(loss, watched)
    # What no output depends on keeps its levels: nothing would tell when it has lost its meaning.
    used = [gradient is not None for gradient in gradients]
    pulls = [
        tf.reshape(tf.cast(tf.convert_to_tensor(gradient), "float32"), [-1]) if use else tf.zeros(size_of(weight))
        for gradient, use, weight in zip(gradients, used, (*learner.kernels, *learner.others), strict=True)
    ]
    kernels = len(learner.kernels)
    scaled = [pull * step for pull, step in zip(pulls, tf.unstack(steps, kernels), strict=False)]
    flat = [tf.reshape(levels, [-1]) for levels in rounded]
    by_step = tf.stack([tf.reduce_sum(pull * levels) for pull, levels in zip(scaled, flat, strict=True)])
    slope = tf.sign(latents) * (BEND / np.log(2)) / (1 + BEND * tf.abs(latents))
    price = rate / latents.shape[0] * learner.prices * slope
    if not all(used[:kernels]):
        price *= tf.concat([tf.fill([pull.shape[0]], float(use)) for pull, use in zip(scaled, used, strict=False)], 0)
    learner.count.assign_add(1.0)
    move(tf, learner.learned[LATENT], tf.concat(scaled, 0) + price, speed[LATENT] * SPEEDS[LATENT], learner.count)
    move(tf, learner.learned[STEP], by_step, speed[STEP] * SPEEDS[STEP], learner.count)
    if learner.others:
        move(tf, learner.learned[OTHER], tf.concat(pulls[kernels:], 0), speed[OTHER] * SPEEDS[OTHER], learner.count)
    return loss


def _answers(model: Model, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    outputs: list[Tensor] = keras().tree.flatten(model(pack_inputs(model, inputs), training=False))
    return outputs
