"""The state of distillation: kernels are rounded, and all other weights are trained in floating point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.layerwise import RoundedWeight
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import CalibrationResult
from wcodec.container.dtypes import round_mantissa
from wcodec.evaluation.keras_backend import keras, read_values, silence_keras, tensorflow
from wcodec.training.answers import Ask, answer_features
from wcodec.training.engine import FloatGroup, ParameterGroup, Step, call_model, compile_step
from wcodec.training.flat_adam import Adam, Float32, flatten, size_of, unflatten
from wcodec.training.kept_features import SplitNetwork
from wcodec.training.losses import build_targets, useless_loss
from wcodec.training.uniform_group import UniformConfig, UniformGroup, build_uniform_group

if TYPE_CHECKING:
    from keras import Model
    from keras import Variable as Weight
    from tensorflow import Tensor


KERNELS: Final = UniformConfig(sharpness=4.0, rates=(0.03, 1e-3), beta2=(0.999, 0.999), rounded_steps=False)
MANTISSA: Final = 7
"""The smallest number of mantissa bits of all other weights."""
FLOAT_RATE: Final = 1e-3
"""Learning rate of all other weights."""


@dataclass(frozen=True)
class DistillState:
    """The network in training.

    kernels:   in the order of `trained`, those of the start's rounded weights that are trained.
    others:    all other trained weights, if there are any.
    ask:       computes features and the outputs of the original, if the first layers are kept.
    mantissas: see `WeightTable`.
    useless:   the loss of a network that tells nothing, see `useless_loss`.
    """

    model: Model
    kernels: UniformGroup
    others: FloatGroup | None
    trained: list[RoundedWeight]
    ask: Ask | None
    step: Step
    mantissas: Mapping[int, int]
    useless: float


def build_distill_state(
    session: CalibrationSession, start: CalibrationResult, split: SplitNetwork | None = None
) -> DistillState:
    """Build the state, which `initialize` then fills. Kernels of zeros, and the first part of `split`, are not trained.

    The network must have its original weights.
    """
    model, kept = session.model, split.kept if split else frozenset()
    rounded = {one.index for one in start.rounded}
    trained = [one for one in start.rounded if one.step and id(model.weights[one.index]) not in kept]
    weights = [model.weights[one.index] for one in trained]
    kernels = build_uniform_group(weights, [True] * len(weights), KERNELS, refined=False)
    learned = [one.variable for one in session.table.weights if one.trainable and one.index not in rounded]
    floats = tuple(variable for variable in learned if id(variable) not in kept)
    zeros = np.zeros(sum(map(size_of, floats)), np.float32)
    others = FloatGroup(floats, Adam.start(zeros), FLOAT_RATE) if floats else None
    groups: list[ParameterGroup] = [kernels, *([others] if others else [])]
    targets = build_targets(session.outputs, tuple(replace(kind, truth=None) for kind in session.kinds))
    useless = useless_loss(targets)
    original = ask_original(model, [*weights, *floats, *(split.first.weights if split else ())], start.statistics)
    if split is None:
        step = compile_step(model, groups, targets, ask_original=original)
        return DistillState(model, kernels, others, trained, None, step, session.table.mantissas, useless)
    first = [(weight, one.weights) for one in start.rounded if id(weight := model.weights[one.index]) in kept]
    ask = answer_features(split.first, original, first)
    step = compile_step(split.others, groups, targets)
    return DistillState(model, kernels, others, trained, ask, step, session.table.mantissas, useless)


def ask_original(
    model: Model, trained: Sequence[Weight], statistics: Sequence[tuple[int, Float32]]
) -> Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """A graph function that computes the outputs of the original network.

    It assigns the original weights, runs the network, and assigns the statistics of the start again.

    trained:    the weights that training changes.
    statistics: other weights that the start changes, by index in `model.weights`.
    """
    tf = tensorflow()
    learned = {id(weight) for weight in trained}
    moved = [(model.weights[i], values) for i, values in statistics if id(model.weights[i]) not in learned]
    before = [
        (weight, tf.constant(keras().ops.convert_to_numpy(weight)))
        for weight in (*trained, *(weight for weight, _ in moved))
    ]
    after = [(weight, tf.constant(values, str(weight.dtype))) for weight, values in moved]

    def ask(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for weight, value in before:
            weight.assign(value)
        with silence_keras():
            outputs = call_model(model, inputs)
        for weight, value in after:
            weight.assign(value)
        return tuple(outputs)

    return ask


def initialize(state: DistillState, start: CalibrationResult) -> None:
    """Assign `start` to the network, and reset the moments of Adam."""
    for index, values in start.statistics:
        state.model.weights[index].assign(values)
    known = {one.index: one for one in start.rounded}
    trained = [known[one.index] for one in state.trained]
    state.kernels.reset([one.values for one in trained], [one.step for one in trained])
    if state.others:
        state.others.adam.reset(flatten([read_values(weight) for weight in state.others.weights]))


def export_weights(
    state: DistillState, start: CalibrationResult
) -> tuple[tuple[RoundedWeight, ...], tuple[tuple[int, Float32], ...]]:
    """The trained latents, and the other weights that differ from the original's. Both are assigned to the network.

    Steps and other weights are rounded to the precision of the file.
    """
    trained = zip(state.trained, state.kernels.steps(), state.kernels.latent_values(), strict=True)
    found = {one.index: RoundedWeight(one.index, one.path, step, values) for one, step, values in trained}
    latents = tuple(found.get(one.index, one) for one in start.rounded)
    for one in latents:
        state.model.weights[one.index].assign(one.weights)
    places = {id(weight): index for index, weight in enumerate(state.model.weights)}
    changed = dict(start.statistics)
    others = state.others.weights if state.others else ()
    floats = unflatten(state.others.adam.values.numpy(), others) if state.others else []
    for weight, learned in zip(others, floats, strict=True):
        index = places[id(weight)]
        changed[index] = round_mantissa(learned, max(MANTISSA, state.mantissas.get(index, 23)))
        weight.assign(changed[index])
    return latents, tuple(sorted(changed.items()))
