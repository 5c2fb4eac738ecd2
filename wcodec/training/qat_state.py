"""The state of training with labels (quantization-aware training): all weights of the network are rounded.

Kernels, biases and gains are integers times a step for each tensor, exactly as in the file. BatchNormalization uses the
statistics of the batch until these are fixed.
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
"""The ratio of the steps of kernels to those of vectors."""
LEAST: Final = 0.01
"""The smallest step of a vector, as a fraction of the largest weight of the kernels."""
RATE: Final = 0.01
"""The learning rate of latents, as a fraction of the largest weight of their tensor."""


@dataclass(frozen=True)
class QatState:
    """The network in training. indices: the positions of the group's weights in `model.weights`."""

    model: Model
    indices: tuple[int, ...]
    group: UniformGroup
    batch_norms: tuple[Layer, ...]
    step: Step


def build_qat_state(model: Model, targets: LossTargets, table: WeightTable) -> QatState:
    """Build the state, which `initialize` then fills. It trains every trainable weight of the table."""
    weights = table.trainable
    kernels = [one.kind == "kernel" for one in weights]
    group = build_uniform_group([one.variable for one in weights], kernels, GROUP, refined=True)
    step = compile_step(model, [group], targets, table.batch_norms)
    return QatState(model, tuple(one.index for one in weights), group, table.batch_norms, step)


def initialize(state: QatState, parts: float) -> None:
    """Start from the weights of the network. parts: the largest weight of a kernel in steps."""
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
    """The levels and the step of each weight; weight = step * level is assigned to the network.

    averaged: see `UniformGroup.latent_values`.
    """
    latents, steps = state.group.latent_values(averaged=averaged), state.group.steps()
    levels = [np.clip(np.rint(array), -MAX_LEVEL, MAX_LEVEL).astype(np.int32) for array in latents]
    for weight, level, step in zip(state.group.weights, levels, steps, strict=True):
        weight.assign(level * np.float32(step))
    return list(zip(levels, steps, strict=True))
