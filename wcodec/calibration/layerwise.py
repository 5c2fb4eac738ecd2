"""One stage of a network rounded: with error feedback, aimed at what the original computed (GPTAQ, Li et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wcodec.calibration.gptq import Float32, correct_for_drift, damp, feedback_matrix, gptq_round
from wcodec.calibration.hessian import Hessian, accumulate_hessians, split_inputs
from wcodec.calibration.session import CalibrationSession, record_group, record_groups, record_originals, split_passes

Rows = tuple[Float32, ...]


@dataclass(frozen=True)
class RoundedWeight:
    """A kernel in steps, moved by feedback, not rounded yet.

    index: place in `model.weights`; path: the variable's.
    values: float32[shape of the kernel].
    """

    index: int
    path: str
    step: float
    values: Float32

    @property
    def levels(self) -> npt.NDArray[np.int32]:
        """weight = step * level."""
        return np.rint(self.values).astype(np.int32)

    @property
    def weights(self) -> Float32:
        """What the kernel becomes."""
        return self.levels * np.float32(self.step)


def round_group(
    session: CalibrationSession,
    number: int,
    steps: Mapping[int, float],
    damping: float,
    rows: Iterable[Rows] | None = None,
) -> tuple[RoundedWeight, ...]:
    """Put rounded weights into the network for one stage, given those that are rounded already.

    steps: by place in `model.weights`.
    rows:  that meet the stage's kernels now; None: those of the original, where nothing before it is rounded.
    """
    group = session.groups[number]
    moved = _round_kernels(session, number, steps, damping, rows)
    found = tuple(
        RoundedWeight(kernel.index, kernel.variable.path, steps[kernel.index], values)
        for kernel, values in zip(group.kernels, moved, strict=True)
    )
    for kernel, one in zip(group.kernels, found, strict=True):
        kernel.variable.assign(one.weights)
    return found


def round_all(session: CalibrationSession, steps: Mapping[int, float], damping: float) -> list[RoundedWeight]:
    """The same for all stages in turn. Those of a group meet what the groups before them, rounded, give."""
    found: list[RoundedWeight] = []
    for numbers in split_passes(session):
        now = record_groups(session, numbers) if numbers[0] and len(numbers) > 1 else {}
        for number in numbers:
            group, rows = session.groups[number], now.pop(number, None)
            if rows is None and numbers[0] and group.layer is not None:
                found += round_group(session, number, steps, damping, record_group(session, group))
            else:
                found += round_group(session, number, steps, damping, rows)
    return found


def _round_kernels(
    session: CalibrationSession, number: int, steps: Mapping[int, float], damping: float, rows: Iterable[Rows] | None
) -> list[Float32]:
    """The latents of a stage's kernels, in their own shapes."""
    group = session.groups[number]
    if group.layer is None:
        return [_in_steps(kernel.original, steps[kernel.index]) for kernel in group.kernels]
    originals = record_originals(session, number)
    seen = (
        accumulate_hessians(group.ops, originals, None)
        if rows is None
        else accumulate_hessians(group.ops, rows, originals)
    )
    found = []
    for kernel, op, parts in zip(group.kernels, group.ops, seen, strict=True):
        matrix = op.matrix(kernel.original)
        moved = [
            _round_matrix(matrix[inputs], part, steps[kernel.index], damping)
            for inputs, part in zip(split_inputs(op), parts, strict=True)
        ]
        found.append(op.kernel(np.concatenate(moved)))
    return found


def _round_matrix(weights: Float32, seen: Hessian, step: float, damping: float) -> Float32:
    power = damp(seen.power, damping)
    target = weights if seen.drift is None else correct_for_drift(weights, power, seen.drift)
    return gptq_round(_in_steps(target, step), feedback_matrix(power))


def _in_steps(weights: Float32, step: float) -> Float32:
    return weights / np.float32(step) if step else np.zeros_like(weights)
