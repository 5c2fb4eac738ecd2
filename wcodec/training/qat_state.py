"""A network that is trained with labels, with all its weights rounded.

Kernels, biases and gains alike are integers times a step of their tensor, so that the file has no other numbers than
these. BatchNormalization trains on the statistics of the batch, until these are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.quantizable_weights import WeightTable
from wcodec.container.dtypes import round_step
from wcodec.container.wire import MAX_LEVEL
from wcodec.evaluation.keras_backend import read_values
from wcodec.training.engine import Step, compile_step
from wcodec.training.losses import LossTargets
from wcodec.training.uniform_group import UniformConfig, UniformGroup, build_uniform_group

if TYPE_CHECKING:
    from keras import Layer, Model


GROUP: Final = UniformConfig(sharpness=10.0, rates=(1.0, 4e-3), beta2=(0.999, 0.99), rounded_steps=True)
VECTORS: Final = 3.0
"""How much finer the steps of vectors are than those of kernels."""
LEAST: Final = 0.01
"""Step of a vector, at least, as part of the kernels' largest weight."""
RATE: Final = 0.01
"""Learning rate of latents, as part of the largest weight of their tensor."""


@dataclass(frozen=True)
class QatState:
    """indices: of the group's weights in `model.weights`."""

    model: Model
    indices: tuple[int, ...]
    group: UniformGroup
    batch_norms: tuple[Layer, ...]
    step: Step


def build_qat_state(model: Model, targets: LossTargets, table: WeightTable) -> QatState:
    """To be initialized. It has every trainable weight of the table."""
    weights = table.trainable
    kernels = [one.kind == "kernel" for one in weights]
    group = build_uniform_group([one.variable for one in weights], kernels, GROUP, refined=True)
    step = compile_step(model, [group], targets, table.batch_norms)
    return QatState(model, tuple(one.index for one in weights), group, table.batch_norms, step)


def initialize(state: QatState, parts: float) -> None:
    """Begin from the weights that the network has. parts: steps of a kernel that its largest weight has."""
    values = [read_values(weight) for weight in state.group.weights]
    largest = [float(np.abs(array).max(initial=0.0)) for array in values]
    kernels = state.group.are_kernels
    most = max((top for top, kernel in zip(largest, kernels, strict=True) if kernel), default=1.0) or 1.0
    steps = [
        round_step(max(top / (parts if kernel else VECTORS * parts), 0.0 if kernel and top else LEAST * most))
        for top, kernel in zip(largest, kernels, strict=True)
    ]
    latents = [array / step for array, step in zip(values, steps, strict=True)]
    rates = [RATE * max(top / step, 1.0) for top, step in zip(largest, steps, strict=True)]
    state.group.reset(latents, steps, [np.full(array.size, rate) for array, rate in zip(values, rates, strict=True)])


def assign_rounded(state: QatState, *, averaged: bool = False) -> list[tuple[npt.NDArray[np.int32], float]]:
    """Levels and step of each weight, which are put into the network: weight = step * level.

    averaged: see `UniformGroup.latent_values`.
    """
    latents, steps = state.group.latent_values(averaged=averaged), state.group.steps()
    levels = [np.clip(np.rint(array), -MAX_LEVEL, MAX_LEVEL).astype(np.int32) for array in latents]
    for weight, level, step in zip(state.group.weights, levels, steps, strict=True):
        weight.assign(level * np.float32(step))
    return list(zip(levels, steps, strict=True))
